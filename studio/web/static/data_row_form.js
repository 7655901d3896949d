// One row as a form: a text for each column, a box for each turn; the same as JSON beside it.
(() => {
  const say = studio.say, safe = studio.escape;

  // `known` comes from rows.form; `on` = { cancel(), done(edit) -> Promise<text of an error or ""> }.
  studio.dataRowForm = (host, known, on) => {
    const turns = known.turns, speakers = turns?.speakers ?? [];
    const asForm = Boolean(known.fields.length || turns);
    host.innerHTML = `<form class="row-form"><div class="by-form" ${asForm ? "" : "hidden"}></div>
      <label class="stacked by-json" ${asForm ? "hidden" : ""}>${safe(known.fault ? say("page.data.form.as_text") : say("page.data.form.as_json"))}<textarea class="json" spellcheck="false" rows="10"></textarea></label>
      <p class="fault" role="alert" hidden></p><div class="tools-row"><button class="button strong">${safe(say("page.data.form.apply"))}</button><button type="button" class="button cancel">${safe(say("page.data.cancel"))}</button>
      ${asForm ? `<button type="button" class="button push json-switch">${safe(say("page.data.form.json"))}</button>` : ""}</div></form>`;
    const find = (selector) => host.querySelector(selector), box = find(".by-form"), json = find(".json");
    json.value = known.json;
    let jsonOpen = !asForm;

    const who = (value) => {
      const names = speakers.map((one) => one.value), all = names.includes(value) || !value ? speakers : [...speakers, { value, who: "" }];
      return all.map((one) => `<option value="${safe(one.value)}" ${one.value === value ? "selected" : ""}>${safe(one.who ? say(`page.data.form.who.${one.who}`) : one.value)}</option>`).join("");
    };
    const turnBox = ({ old = null, who: speaker, said, more = [] }) => {
      const made = document.createElement("div");
      made.className = "turn-box";
      made.dataset.old = old === null ? "" : old;
      made.innerHTML = `<div class="turn-head"><select aria-label="${safe(say("page.data.form.speaker"))}">${who(speaker)}</select>${more.length ? `<span class="muted" title="${safe(say("page.data.form.kept"))}">+ ${safe(more.join(", "))}</span>` : ""}
        <span class="push"></span><button type="button" class="link" data-turn="up" aria-label="${safe(say("page.data.form.up"))}">↑</button><button type="button" class="link" data-turn="down" aria-label="${safe(say("page.data.form.down"))}">↓</button><button type="button" class="link danger" data-turn="remove">${safe(say("page.data.rows.remove"))}</button></div><textarea rows="1"></textarea>`;
      made.querySelector("textarea").value = said;
      return made;
    };
    const role = (field) => (field.role ? ` <span class="muted">${safe(say(`page.data.roles.${field.role}`))}</span>` : "");
    for (const field of known.fields) {
      const label = document.createElement("label");
      label.className = `stacked ${field.json ? "as-json" : ""}`;
      label.innerHTML = `<span><b>${safe(field.column)}</b>${role(field)}</span><textarea rows="1" spellcheck="${!field.json}"></textarea>`;
      label.querySelector("textarea").value = field.text;
      label.dataset.column = field.column;
      box.append(label);
    }
    if (turns) {
      const part = document.createElement("div");
      part.className = "turn-boxes";
      part.innerHTML = `<span><b>${safe(turns.column)}</b> <span class="muted">${safe(say("page.data.roles.messages"))}</span></span><div class="list"></div><button type="button" class="button small add-turn">${safe(say("page.data.form.add_turn"))}</button>`;
      part.querySelector(".list").append(...turns.list.map(turnBox));
      box.prepend(part);
    }
    const fit = (area) => { area.style.height = "auto"; area.style.height = `${Math.min(420, area.scrollHeight + 2)}px`; };
    const fitAll = () => host.querySelectorAll("textarea:not(.json)").forEach(fit);

    const edit = () => {
      if (jsonOpen) return { json: json.value };
      const fields = Object.fromEntries([...box.querySelectorAll("[data-column]")].map((label) => [label.dataset.column, label.querySelector("textarea").value]));
      // Only what was touched is sent: a value that nobody changed stays as it is written in the file.
      for (const field of known.fields) if (fields[field.column] === field.text && !field.fresh) delete fields[field.column];
      const list = [...box.querySelectorAll(".turn-box")].map((one) => ({ old: one.dataset.old === "" ? null : Number(one.dataset.old), who: one.querySelector("select").value, said: one.querySelector("textarea").value }));
      return { fields, ...(turns ? { column: turns.column, turns: list } : {}) };
    };
    const before = JSON.stringify(edit());
    host.addEventListener("input", (event) => { if (event.target.matches("textarea:not(.json)")) fit(event.target); });
    box.addEventListener("click", (event) => {
      const action = event.target.dataset.turn, one = event.target.closest(".turn-box");
      if (event.target.classList.contains("add-turn")) {
        const boxes = [...box.querySelectorAll(".turn-box")], last = boxes.at(-1)?.querySelector("select").value;
        const [user, assistant] = ["user", "assistant"].map((name) => speakers.find((speaker) => speaker.who === name)?.value ?? "");
        const made = turnBox({ who: last === user ? assistant : user, said: "" });
        box.querySelector(".turn-boxes .list").append(made);
        made.querySelector("textarea").focus();
      }
      if (action === "remove") one.remove();
      if (action === "up") one.previousElementSibling?.before(one);
      if (action === "down") one.nextElementSibling?.after(one);
      if (action === "up" || action === "down") event.target.focus();
    });
    find(".json-switch")?.addEventListener("click", () => {
      if (JSON.stringify(edit()) !== (jsonOpen ? JSON.stringify({ json: known.json }) : before) && !confirm(say("page.data.form.switch_loses"))) return;
      jsonOpen = !jsonOpen;
      box.hidden = jsonOpen;
      find(".by-json").hidden = !jsonOpen;
      json.value = known.json;
      find(".json-switch").textContent = say(jsonOpen ? "page.data.form.form" : "page.data.form.json");
      (jsonOpen ? json : box.querySelector("textarea"))?.focus();
    });
    find("form").addEventListener("submit", async (event) => {
      event.preventDefault();
      const error = await on.done(edit());
      find(".fault").hidden = !error;
      find(".fault").textContent = error || "";
    });
    find(".cancel").addEventListener("click", on.cancel);
    host.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); on.cancel(); }
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); find("form").requestSubmit(); }
    });
    fitAll();
    const first = known.fields.find((field) => field.role)?.column;
    (jsonOpen ? json : box.querySelector(".turn-box textarea") ?? box.querySelector(first ? `[data-column="${CSS.escape(first)}"] textarea` : "textarea"))?.focus({ preventScroll: true });
    return { element: host, changed: () => JSON.stringify(edit()) !== (jsonOpen ? JSON.stringify({ json: known.json }) : before) };
  };
})();
