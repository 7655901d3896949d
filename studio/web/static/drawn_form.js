// A form drawn from the schema: fields by kind, folds for what serves most people as it is, faults at their field.
(() => {
  const say = studio.say, safe = studio.escape;
  let drawn = 0;

  // `described` = { sections: [{ name, title, fields }], values }; `heard(values)` is called on every change.
  studio.drawnForm = (host, described, shown, heard) => {
    const values = { ...described.values, ...shown };
    for (const [key, value] of Object.entries(values)) if (Array.isArray(value)) values[key] = value.join("\n");
    const fields = described.sections.flatMap((section) => section.fields);
    const number = ++drawn;  // several forms of one schema may stand on the page
    const id = (key) => `drawn-${number}-${key.replaceAll(".", "-")}`;
    const applies = (section, field) => !field.variant || field.variant === values[`${section.name}.type`];

    const options = (field) => field.choices.map((choice) => `<option value="${safe(choice.value)}" ${String(values[field.key] ?? "") === choice.value ? "selected" : ""}>${safe(choice.label)}</option>`).join("");
    const widget = (field) => {
      const value = values[field.key] ?? "", common = `id="${id(field.key)}" data-key="${safe(field.key)}" aria-describedby="${id(field.key)}-info"`;
      if (field.kind === "type") return `<div class="segments" role="radiogroup" aria-label="${safe(field.label)}">${field.choices.map((choice) => `<label class="${value === choice.value ? "chosen" : ""}"><input type="radio" name="${id(field.key)}" data-key="${safe(field.key)}" value="${safe(choice.value)}" ${value === choice.value ? "checked" : ""}>${safe(choice.label)}</label>`).join("")}</div>`;
      if (field.kind === "flag") return `<input type="checkbox" ${common} ${value ? "checked" : ""}>`;
      if (field.long) return `<textarea rows="7" spellcheck="false" ${common}>${safe(value)}</textarea>`;
      if (field.kind === "list") return `<textarea rows="2" spellcheck="false" ${common}>${safe(value)}</textarea>${field.choices.length ? `<p class="offered">${field.choices.map((choice) => `<button type="button" class="button small" data-offer="${safe(choice.value)}">${safe(choice.label)}</button>`).join(" ")}</p>` : ""}`;
      if (field.choices.length && !field.free) return `<select ${common}>${field.optional || value === "" ? '<option value=""></option>' : ""}${options(field)}</select>`;
      const list = field.choices.length ? `list="${id(field.key)}-list"` : "";
      const numeric = field.kind === "integer" || field.kind === "number" ? 'inputmode="decimal"' : "";
      return `<input ${common} ${list} ${numeric} autocomplete="off" spellcheck="false" placeholder="${safe(field.placeholder)}" value="${safe(value)}">${list ? `<datalist id="${id(field.key)}-list">${options(field)}</datalist>` : ""}`;
    };
    const drawField = (field) => `<div class="drawn kind-${field.kind} ${field.long || field.kind === "list" || field.kind === "type" ? "wide" : ""}" data-field="${safe(field.key)}">
      ${field.kind === "type" ? "" : `<label for="${id(field.key)}">${safe(field.label)}</label>`}${widget(field)}
      <p class="info" id="${id(field.key)}-info">${safe(field.info)}</p><p class="said" aria-live="polite" hidden></p></div>`;
    const moved = (list) => list.filter((field) => String(values[field.key] ?? "") !== String(described.values[field.key] ?? ""));
    const foldTitle = (list) => {
      const changed = moved(list), names = changed.slice(0, 3).map((field) => field.label).join(", ");
      return say("page.form.more") + (changed.length ? ` · ${say("page.form.changed", { count: changed.length })}: ${names}` : "");
    };
    const open = new Set();
    const drawSection = (section) => {
      const own = section.fields.filter((field) => applies(section, field)), more = own.filter((field) => field.advanced);
      return `<fieldset class="drawn-section" data-section="${safe(section.name)}"><legend>${safe(section.title)}</legend>
        <div class="drawn-fields">${own.filter((field) => !field.advanced).map(drawField).join("")}</div>
        ${more.length ? `<details ${open.has(section.name) ? "open" : ""}><summary>${safe(foldTitle(more))}</summary><div class="drawn-fields">${more.map(drawField).join("")}</div></details>` : ""}</fieldset>`;
    };
    const draw = () => { host.innerHTML = described.sections.filter((section) => section.name).map(drawSection).join(""); };

    host.addEventListener("toggle", (event) => {
      const name = event.target.closest("[data-section]")?.dataset.section;
      if (name) event.target.open ? open.add(name) : open.delete(name);
    }, true);
    host.addEventListener("input", (event) => {
      const key = event.target.dataset.key, field = fields.find((one) => one.key === key);
      if (!field) return;
      values[key] = field.kind === "flag" ? event.target.checked : event.target.value;
      const section = described.sections.find((one) => one.fields.includes(field));
      if (field.kind === "type") {  // other members of the union come and go
        host.querySelector(`[data-section="${section.name}"]`).outerHTML = drawSection(section);
        host.querySelector(`[data-key="${CSS.escape(key)}"]:checked`)?.focus();
      } else if (field.advanced) {
        const more = section.fields.filter((one) => one.advanced && applies(section, one));
        event.target.closest("details").querySelector("summary").textContent = foldTitle(more);
      }
      heard(values);
    });
    host.addEventListener("click", (event) => {  // an offered line joins those that are there
      const line = event.target.dataset.offer, box = event.target.closest("[data-field]")?.querySelector("textarea");
      if (!line || !box) return;
      const lines = box.value.split("\n").map((one) => one.trim()).filter(Boolean);
      box.value = (lines.includes(line) ? lines.filter((one) => one !== line) : [...lines, line]).join("\n");
      box.dispatchEvent(new Event("input", { bubbles: true }));
    });
    draw();
    return {
      values,
      // `found` maps keys to { severity, text }; what is only not chosen yet is not said in red.
      judge: (found) => {
        for (const box of host.querySelectorAll("[data-field]")) {
          const said = found[box.dataset.field], place = box.querySelector(".said");
          const kind = said && said.severity !== "to-do" ? said.severity : "";
          box.classList.toggle("faulty", kind === "fault");
          place.hidden = !kind;
          place.className = `said ${kind}`;
          if (place.textContent !== (kind ? said.text : "")) place.textContent = kind ? said.text : "";
          if (kind === "fault" && box.closest("details")) box.closest("details").open = true;
        }
      },
    };
  };
})();
