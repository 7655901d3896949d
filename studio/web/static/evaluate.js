// The Evaluate tab: the list of evaluations on the left; on the right the chosen one, or the form of a new one.
// It asks the server what moved and draws only that. Where one stands is in the address: evaluation, view, row, and
// how rows are found and ordered (set, order, by, of, find, start); `new` shows the form, for the run that it names.
(() => {
  const say = studio.say, safe = studio.escape;
  const PLACE = { evaluation: "name", view: "view", row: "row", set: "set", order: "order", by: "by", of: "of", find: "find", start: "from", new: "fresh" };

  studio.drawEvaluate = (element, server) => {
    const frame = element.querySelector(".evaluate"), host = element.querySelector(".ev-detail");
    const ask = async (action, body = {}) => await server.evaluate({ language: studio.language, action, ...body }) ?? { error: say("page.header.offline") };
    const place = {};
    let busy = false, again = false;

    const read = () => { for (const [name, key] of Object.entries(PLACE)) place[key] = studio.parameter(name); };
    const write = (push) => studio.address(Object.fromEntries(Object.entries(PLACE).map(([name, key]) => [name, place[key]])), push);
    const page = {
      place, ask,
      // Stand elsewhere: `changes` to the place; what depends on what was changed is forgotten.
      go: (changes, push = true) => {
        const other = "name" in changes && changes.name !== place.name;
        if (other) for (const key of Object.values(PLACE)) place[key] = null;
        Object.assign(place, changes);
        write(push);
        show();
      },
      tick: () => tick(),
    };
    const list = studio.evaluateList(element.querySelector(".ev-list"), page);
    const one = studio.evaluation(host, page);
    let form = null;
    element.querySelector(".ev-back").setAttribute("aria-label", say("page.evaluate.all"));

    const show = () => {
      frame.classList.toggle("has-choice", Boolean(place.name || place.fresh));
      list.choose(place.fresh ? null : place.name, place.fresh);
      if (place.fresh) {
        if (form !== place.fresh) { one.close(); studio.evaluateNew(host, page, place.fresh === "1" ? "" : place.fresh); }
        form = place.fresh;
        return;
      }
      form = null;
      one.open(place.name);
      tick();
    };

    async function tick() {
      if (studio.tab() !== "evaluate") return;
      if (busy) { again = true; return; }
      busy = true;
      try {
        const name = place.fresh ? null : place.name;
        const reply = await studio.within(server.evaluate({ language: studio.language, action: "tick", list: list.version, name, ...one.knows() }));
        if (!reply || reply.error) return;  // the server does not answer; the header says so
        if (reply.list) list.set(reply.list);
        if (name && name === place.name && !place.fresh) one.set(reply);
        if (!place.name && !place.fresh && innerWidth > 900) page.go(list.first() ? { name: list.first() } : { fresh: "1" }, false);
      } finally { busy = false; }
      if (again) { again = false; await tick(); }
    }

    document.addEventListener("studio-evaluation", read);
    document.addEventListener("studio-back", () => { if (studio.tab() === "evaluate") read(); });  // the tab is opened next
    const leave = () => {  // other tabs have rows of their own
      const own = Object.keys(PLACE).filter((name) => !["evaluation", "view", "row"].includes(name));
      if (place.row && studio.parameter("row") === place.row) own.push("row");
      studio.address(Object.fromEntries(own.map((name) => [name, null])));
    };
    document.addEventListener("studio-tab", (event) => { if (event.detail === "evaluate") { write(false); show(); } else leave(); });
    element.querySelector(".ev-back").addEventListener("click", () => page.go({ name: null, fresh: null }));
    if (studio.tab() === "evaluate") { read(); show(); }
    studio.repeat(1000, tick);
  };

  // From elsewhere: the form of a new evaluation of a trained run. The tab may not be drawn yet, so it goes by the address.
  studio.openEvaluation = (subject) => {
    studio.address({ ...Object.fromEntries(Object.keys(PLACE).map((name) => [name, null])), tab: "evaluate", new: subject }, true);
    document.dispatchEvent(new CustomEvent("studio-evaluation"));
    studio.openTab("evaluate", false);
  };

  // A candidate as people call it.
  studio.candidate = (name) => (name === "base" ? say("page.evaluate.base") : name.replace(/^saves\//, ""));
  // A score by its name for people, and its sentence; one that this page does not know keeps its own name.
  studio.scoreName = (name) => { const key = `page.evaluate.score.${name}`, text = say(key); return text === key ? name : text; };
  studio.scoreWhy = (name) => { const key = `page.evaluate.why.${name}`, text = say(key); return text === key ? "" : text; };
  // Two digits behind the point, one from ten on; what would be rounded to nothing keeps its digits.
  studio.figure = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value), text = size >= 1000 || (size < 0.01 && size > 0) ? studio.short(value) : value.toFixed(size >= 10 ? 1 : 2);
    return text.replace("-", "−");
  };
  studio.signed = (value) => (value > 0 ? "+" : "") + studio.figure(value);

  // ---- left: every evaluation ----
  studio.evaluateList = (host, page) => {
    host.innerHTML = `<div class="ev-tools"><button class="ev-new primary">${safe(say("page.evaluate.new"))}</button>
      <input type="search" placeholder="${safe(say("page.evaluate.search"))}" aria-label="${safe(say("page.evaluate.search"))}"></div><ul></ul><p class="none" hidden></p>`;
    const rows = host.querySelector("ul"), search = host.querySelector("input"), none = host.querySelector(".none");
    const api = { version: null, all: [], chosen: null };
    const main = (entry) => {
      const found = entry.main;
      if (!found) return "";
      const sign = found.beyond ? "▲" : found.candidate === found.first ? "" : "≈";
      const text = say(found.beyond ? "page.evaluate.main_beyond" : found.candidate === found.first ? "page.evaluate.main" : "page.evaluate.main_within", { score: studio.scoreName(found.score), value: studio.figure(found.value), base: studio.figure(found.base), first: studio.candidate(found.first) });
      return `<span class="main ${found.beyond ? "beyond" : ""}" title="${safe(text)}">${safe(studio.scoreName(found.score))} ${safe(studio.figure(found.value))} ${sign}</span>`;
    };
    const note = (entry) => {
      if (entry.state === "queued" && !entry.held) return say("page.runs.position", { position: entry.position });
      if (entry.cause) return entry.cause;
      return ["starting", "running", "stopping"].includes(entry.state) ? (entry.total ? `${entry.step}/${entry.total}` : entry.phase) : "";
    };
    const draw = () => {
      const word = search.value.trim().toLowerCase();
      const found = api.all.filter((entry) => [entry.name, ...entry.candidates, ...entry.datasets].join(" ").toLowerCase().includes(word));
      const focused = document.activeElement?.dataset?.evaluation;
      const html = found.map((entry) => `<li><button data-evaluation="${safe(entry.name)}" class="${entry.name === api.chosen ? "chosen" : ""}" ${entry.name === api.chosen ? 'aria-current="true"' : ""}>
        <span class="line"><b>${safe(entry.name)}</b>${main(entry)}</span>
        <span class="line about">${safe(entry.candidates.map(studio.candidate).join(", "))} · ${safe(entry.datasets.join(", "))}</span>
        <span class="line">${studio.stateBadge(entry)}<span class="note">${safe(note(entry))}</span></span></button></li>`).join("");
      if (rows.dataset.html !== html) { rows.dataset.html = html; rows.innerHTML = html; }
      none.hidden = found.length > 0 || api.version === null;
      none.textContent = say(word ? "page.evaluate.none_found" : "page.evaluate.none");
      if (focused) rows.querySelector(`[data-evaluation="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    };
    search.addEventListener("input", draw);
    host.addEventListener("click", (event) => {
      if (event.target.closest(".ev-new")) { page.go({ fresh: "1" }); return; }
      const name = event.target.closest("[data-evaluation]")?.dataset.evaluation;
      if (name) page.go({ name, fresh: null });
    });
    host.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], buttons = [...rows.querySelectorAll("button")];
      const at = buttons.indexOf(document.activeElement);
      if (!step || (at < 0 && document.activeElement !== search)) return;
      event.preventDefault();
      (buttons[at + step] ?? search).focus();
    });
    api.set = ({ version, evaluations }) => { api.version = version; api.all = evaluations; draw(); };
    api.choose = (name, fresh) => { api.chosen = name; host.querySelector(".ev-new").classList.toggle("chosen", Boolean(fresh)); draw(); };
    api.first = () => api.all[0]?.name;
    return api;
  };
})();
