// A form drawn from the schema: fields by kind, folds for what serves most people as it is, faults at their field.
(() => {
  const say = studio.say, safe = studio.escape;
  const MOST_SEGMENTS = 6;  // members of a union that stand side by side; more are a list with a sentence on the chosen one
  let drawn = 0;

  // `described` = { sections: [{ name, title, folded, fields }], values }; `heard(values)` is called on every change.
  // `how.ids` begins the ids of fields; with `how.folds` a section without a basic setting is one line to open.
  studio.drawnForm = (host, described, shown, heard, how = {}) => {
    const plain = (value) => Array.isArray(value) ? value.join("\n") : value;
    const first = Object.fromEntries(Object.entries(described.values).map(([key, value]) => [key, plain(value)]));
    const values = { ...first };
    const take = (changes) => { for (const [key, value] of Object.entries(changes)) values[key] = plain(value); };
    take(shown);
    const fields = described.sections.flatMap((section) => section.fields);
    const number = ++drawn;  // several forms of one schema may stand on the page
    const id = (key) => `${how.ids ?? `drawn-${number}`}-${key.replaceAll(".", "-")}`;
    const fieldOf = (element) => fields.find((one) => one.key === element?.closest("[data-field]")?.dataset.field);
    const sectionOf = (field) => described.sections.find((one) => one.fields.includes(field));
    const applies = (section, field) => !field.variant || field.variant === values[`${section.name}.type`];
    const open = new Set();
    let found = {}, refused = {}, hidden = {};

    // ---- one field ----
    const options = (field) => field.choices.map((choice) => `<option value="${safe(choice.value)}" ${String(values[field.key] ?? "") === choice.value ? "selected" : ""}>${safe(choice.label)}</option>`).join("");
    const segments = (field) => `<div class="segments" role="radiogroup" aria-label="${safe(field.label)}" aria-describedby="${id(field.key)}-info">${field.choices.map((choice) => `<label class="${values[field.key] === choice.value ? "chosen" : ""}" title="${safe(field.abouts[choice.value] ?? "")}"><input type="radio" name="${id(field.key)}-input" data-key="${safe(field.key)}" value="${safe(choice.value)}" ${values[field.key] === choice.value ? "checked" : ""}>${safe(choice.label)}</label>`).join("")}</div>`;
    const many = (field, common) => `<span class="combo many"><span class="chips"></span><input role="combobox" aria-autocomplete="list" aria-expanded="false" autocomplete="off" spellcheck="false" ${common}><button type="button" class="combo-open" tabindex="-1" aria-hidden="true">▾</button></span><textarea hidden data-key="${safe(field.key)}">${safe(values[field.key] ?? "")}</textarea>`;
    const widget = (field) => {
      const value = values[field.key] ?? "", bare = `id="${id(field.key)}-input" aria-describedby="${id(field.key)}-info"`, common = `${bare} data-key="${safe(field.key)}"`;
      if (field.kind === "type" && field.choices.length <= MOST_SEGMENTS) return segments(field);
      if (field.kind === "type") return `<select ${common}>${options(field)}</select><p class="about">${safe(field.abouts[value] ?? "")}</p>`;
      if (field.kind === "flag") return `<input type="checkbox" ${common} ${value ? "checked" : ""}>`;
      if (field.long) return `<textarea rows="7" spellcheck="false" ${common}>${safe(value)}</textarea>`;
      if (field.kind === "list" && (field.choices.length || field.provider)) return many(field, bare);
      if (field.kind === "list") return `<textarea rows="2" spellcheck="false" ${common}>${safe(value)}</textarea>`;
      if (field.choices.length && !field.free) return `<select ${common}>${field.optional || value === "" ? '<option value=""></option>' : ""}${options(field)}</select>`;
      if (field.kind === "mapping") return `<textarea rows="1" spellcheck="false" ${common} placeholder="${safe(field.placeholder)}">${safe(value)}</textarea>`;
      const numeric = field.kind === "integer" || field.kind === "number" ? 'inputmode="decimal"' : "";
      const input = (more) => `<input ${common} ${more} ${numeric} autocomplete="off" spellcheck="false" placeholder="${safe(field.placeholder)}" value="${safe(value)}">`;
      return field.choices.length ? `<span class="combo">${input('role="combobox" aria-autocomplete="list" aria-expanded="false"')}<button type="button" class="combo-open" tabindex="-1" aria-hidden="true">▾</button></span>` : input("");
    };
    const wide = (field) => field.long || field.provider || ["list", "type", "mapping", "text"].includes(field.kind);
    const drawField = (field) => `<div class="drawn kind-${field.kind} ${wide(field) ? "wide" : ""}" id="${id(field.key)}" data-field="${safe(field.key)}">
      ${field.kind === "type" && field.choices.length <= MOST_SEGMENTS ? "" : `<label for="${id(field.key)}-input">${safe(field.label)}</label>`}${widget(field)}
      <p class="info" id="${id(field.key)}-info">${safe(field.info)}</p><p class="said" aria-live="polite" hidden></p></div>`;

    // ---- one section ----
    const moved = (list) => list.filter((field) => String(values[field.key] ?? "") !== String(first[field.key] ?? ""));
    const whole = (section) => how.folds && section.folded;
    const foldTitle = (section) => {
      const changed = moved(section.fields.filter((field) => field.advanced && applies(section, field))), names = changed.slice(0, 3).map((field) => field.label).join(", ");
      return (whole(section) ? section.title : say("page.form.more")) + (changed.length ? ` · ${say("page.form.changed", { count: changed.length })}: ${names}` : "");
    };
    const fold = (section, list) => `<details class="drawn-fold" id="${how.ids ? "fold" : `drawn-${number}-fold`}-${safe(section.name)}" ${open.has(section.name) ? "open" : ""}><summary>${safe(foldTitle(section))}</summary><div class="drawn-fields">${list.map(drawField).join("")}</div></details>`;
    const drawSection = (section) => {
      const own = section.fields.filter((field) => applies(section, field)), more = own.filter((field) => field.advanced);
      if (whole(section)) return `<div class="drawn-whole" role="group" aria-label="${safe(section.title)}" data-section="${safe(section.name)}">${fold(section, own)}</div>`;
      return `<fieldset class="drawn-section" ${how.ids ? `id="card-${safe(section.name)}"` : ""} data-section="${safe(section.name)}"><legend>${safe(section.title)}</legend>
        <div class="drawn-fields">${own.filter((field) => !field.advanced).map(drawField).join("")}</div>${more.length ? fold(section, more) : ""}</fieldset>`;
    };
    const named = described.sections.filter((section) => section.name);
    const redraw = (section) => {
      const box = host.querySelector(`[data-section="${CSS.escape(section.name)}"]`);
      const focused = box.contains(document.activeElement) ? document.activeElement.id || document.activeElement.dataset.key : "";
      box.outerHTML = drawSection(section);
      finish();
      if (focused) (document.getElementById(focused) ?? host.querySelector(`[data-key="${CSS.escape(focused)}"]:checked`))?.focus();
    };
    const finish = () => {  // what belongs to fields that were just drawn
      for (const area of host.querySelectorAll("textarea[hidden][data-key]")) studio.combo.chips(area);
      judge(found, false);
      mark(refused);
    };

    // ---- what is said of fields ----
    // `now` maps keys to { severity, text }; what is only not chosen yet is not said in red. A new fault opens its fold.
    const judge = (now, opening = true) => {
      for (const box of host.querySelectorAll("[data-field]")) {
        const said = now[box.dataset.field], place = box.querySelector(".said");
        const kind = said && said.severity !== "to-do" ? said.severity : "", fresh = kind && place.textContent !== said.text;
        box.classList.toggle("faulty", kind === "fault");
        place.hidden = !kind;
        place.className = `said ${kind}`;
        if (fresh || !kind) place.textContent = kind ? said.text : "";
        if (opening && fresh && kind === "fault" && box.closest("details")) box.closest("details").open = true;
      }
      found = now;
    };
    // Members of a union that cannot go with what else is chosen stay choosable and say why.
    const mark = (now) => {
      for (const field of fields.filter((one) => one.kind === "type")) {
        const box = host.querySelector(`[data-field="${CSS.escape(field.key)}"]`), reasons = now[field.key] ?? {};
        for (const choice of box ? field.choices : []) {
          const item = box.querySelector(`option[value="${CSS.escape(choice.value)}"]`) ?? box.querySelector(`input[value="${CSS.escape(choice.value)}"]`).parentElement;
          const reason = reasons[choice.value] ?? "";
          item.classList.toggle("refused", Boolean(reason));
          item.title = reason || field.abouts[choice.value] || "";
          if (item.tagName === "OPTION") item.textContent = `${reason ? "⊘ " : ""}${choice.label}`;
        }
      }
      refused = now;
    };

    host.addEventListener("toggle", (event) => {
      const name = event.target.closest("[data-section]")?.dataset.section;
      if (name) event.target.open ? open.add(name) : open.delete(name);
    }, true);
    host.addEventListener("input", (event) => {
      const key = event.target.dataset.key, field = fields.find((one) => one.key === key);
      if (!field) return;
      values[key] = field.kind === "flag" ? event.target.checked : event.target.value;
      const section = sectionOf(field);
      if (field.kind === "type") redraw(section);  // other members of the union come and go
      else if (field.advanced) event.target.closest("details").querySelector("summary").textContent = foldTitle(section);
      heard(values);
    });
    const lists = studio.combo(host, (box) => {
      const field = fieldOf(box), out = hidden[field.key] ?? [];
      return { free: field.free, choices: field.choices.filter((one) => !out.includes(one.value)) };
    });
    host.innerHTML = named.map(drawSection).join("");
    finish();
    return {
      values,
      fields,
      judge,
      mark,
      // Choices that do not fit now, by key: they are not offered.
      hide: (now) => {
        if (JSON.stringify(hidden) === JSON.stringify(now)) return;
        hidden = now;
        lists.again();
      },
      // Values by key, as if somebody had typed them.
      put: (changes) => {
        take(changes);
        for (const section of named) redraw(section);
        heard(values);
      },
      // The choices as they are now in another description of the same schema.
      offer: (other) => {
        for (const fresh of other.sections.flatMap((section) => section.fields)) {
          const field = fields.find((one) => one.key === fresh.key);
          if (!field || JSON.stringify(field.choices) === JSON.stringify(fresh.choices)) continue;
          field.choices = fresh.choices;
          if (!field.free && field.kind !== "list") redraw(sectionOf(field));
        }
        lists.again();
      },
      // Bring a field into sight, out of its fold.
      focus: (key) => {
        const box = host.querySelector(`[data-field="${CSS.escape(key)}"]`);
        if (!box) return;
        if (box.closest("details")) box.closest("details").open = true;
        box.querySelector("input:checked, input:not([type=radio]), select, textarea:not([hidden])")?.focus();
        box.scrollIntoView({ block: "nearest", behavior: "smooth" });
      },
    };
  };
})();
