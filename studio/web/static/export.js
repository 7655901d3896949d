// The Export tab: earlier exports on the left; on the right the wizard for a new one, or one export with its result.
// Where one stands is in the address: `export` names an export; without it the wizard stands at `step`, begun `from` a run.
(() => {
  const say = studio.say, safe = studio.escape;
  const PLACE = { export: "name", from: "from", step: "step" };

  studio.drawExport = (element, server) => {
    const ask = async (action, body = {}) => await server.export({ language: studio.language, action, ...body }) ?? { error: say("page.header.offline") };
    const wizardHost = element.querySelector(".ex-wizard"), oneHost = element.querySelector(".ex-one");
    const place = { name: null, from: null, step: null };
    let busy = false, again = false, wizard = null;

    const read = () => { for (const [name, key] of Object.entries(PLACE)) place[key] = studio.parameter(name); };
    const write = (push) => studio.address(Object.fromEntries(Object.entries(PLACE).map(([name, key]) => [name, place[key]])), push);
    const page = {
      place, ask,
      go: (changes, push = true) => { Object.assign(place, changes); write(push); show(); },
      fresh: (from = null) => { wizard = null; page.go({ name: null, from, step: null }); },
      begun: (name) => { wizard = null; page.go({ name, from: null, step: null }); },
      tick: () => tick(),
    };
    const list = studio.exportList(element.querySelector(".ex-list"), page);
    const one = studio.exportOne(oneHost, page);

    const show = () => {
      list.choose(place.name);
      wizardHost.hidden = Boolean(place.name);
      oneHost.hidden = !place.name;
      one.open(place.name);
      if (place.name) { tick(); return; }
      if (!wizard || wizard.from !== place.from) wizard = studio.exportWizard(wizardHost, page, place.from);
      else wizard.stand(place.step);
    };

    async function tick() {
      if (studio.tab() !== "export") return;
      if (busy) { again = true; return; }
      busy = true;
      try {
        const name = place.name;
        const reply = await studio.within(server.export({ language: studio.language, action: "tick", list: list.version, name, ...one.knows() }));
        if (!reply || reply.error) return;  // the server does not answer; the header says so
        if (reply.list) list.set(reply.list);
        if (name && name === place.name) one.set(reply);
      } finally { busy = false; }
      if (again) { again = false; await tick(); }
    }

    document.addEventListener("studio-export", () => { wizard = null; read(); });
    document.addEventListener("studio-back", () => { if (studio.tab() === "export") read(); });  // the tab is opened next
    document.addEventListener("studio-tab", (event) => {
      if (event.detail === "export") {
        setTimeout(() => write(false));  // behind the other tabs, which take out of the address what is theirs
        show();
        tick();
      } else if (place.from && studio.parameter("from") === place.from) studio.address({ from: null, step: null });
    });
    if (studio.tab() === "export") { read(); show(); }
    studio.repeat(1000, tick);
  };

  // From elsewhere: a new export of a trained run. The tab may not be drawn yet, so it goes by the address.
  studio.openExport = (from) => {
    studio.address({ tab: "export", export: null, step: null, from }, true);
    document.dispatchEvent(new CustomEvent("studio-export"));
    studio.openTab("export", false);
  };

  // ---- left: every export ----
  studio.exportList = (host, page) => {
    host.innerHTML = `<button class="ex-new primary">${safe(say("page.export.new"))}</button><h2>${safe(say("page.export.earlier"))}</h2><ul></ul><p class="none" hidden>${safe(say("page.export.none"))}</p>`;
    const rows = host.querySelector("ul");
    const api = { version: null, all: [], chosen: null };
    const note = (entry) => {
      if (entry.state === "queued" && !entry.held) return say("page.runs.position", { position: entry.position });
      if (entry.cause) return entry.cause;
      if (entry.verdict) return say(`page.export.verdicts.${entry.verdict}`);
      return ["starting", "running", "stopping"].includes(entry.state) ? studio.exportPhase(entry.phase) : "";
    };
    const draw = () => {
      const html = api.all.map((entry) => `<li><button data-export="${safe(entry.name)}" class="${entry.name === api.chosen ? "chosen" : ""}" ${entry.name === api.chosen ? 'aria-current="true"' : ""}>
        <span class="line"><b>${safe(entry.name)}</b>${entry.size ? `<span class="size">${safe(studio.bytes(entry.size))}</span>` : ""}</span>
        <span class="line">${studio.stateBadge(entry)}<span class="note ${safe(entry.verdict)}">${safe([entry.format, note(entry)].filter(Boolean).join(" · "))}</span></span></button></li>`).join("");
      if (rows.dataset.html !== html) {
        const focused = document.activeElement?.dataset?.export;
        rows.dataset.html = html;
        rows.innerHTML = html;
        if (focused) rows.querySelector(`[data-export="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      }
      host.querySelector(".none").hidden = api.all.length > 0 || api.version === null;
    };
    host.addEventListener("click", (event) => {
      if (event.target.closest(".ex-new")) { page.fresh(); return; }
      const name = event.target.closest("[data-export]")?.dataset.export;
      if (name) page.go({ name, from: null, step: null });
    });
    host.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], buttons = [...host.querySelectorAll("button")];
      const at = buttons.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      buttons[at + step]?.focus();
    });
    api.set = ({ version, exports }) => { api.version = version; api.all = exports; draw(); };
    api.choose = (name) => { api.chosen = name; host.querySelector(".ex-new").classList.toggle("chosen", !name); draw(); };
    return api;
  };

  // A phase in the page's language; one that this page does not know keeps the worker's own word.
  studio.exportPhase = (phase) => {
    const key = `page.export.phases.${(phase || "").replaceAll(" ", "_")}`, text = say(key);
    return text === key ? phase : text;
  };
})();
