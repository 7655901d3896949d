// The Data tab: the list of datasets on the left, one dataset with its views on the right.
//
// A view is a panel: studio.dataPanels.<name> = { title_key, draw(element, context) } in static/data_<name>.js, its server side
// in data_<name>.py. context = { name, language, say(key, values), ask(action, body) -> Promise<reply>, open(row), facts, refresh() }.
// `ask` adds the dataset's name and always gives an object, with `error` where something went wrong. What `draw` returns, if it
// is a function, is called when the view goes. A panel with `standalone: true` needs no dataset and stands beside the Add button.
(() => {
  const say = studio.say, safe = studio.escape;
  const ORDER = ["rows", "columns", "checks", "tokens", "make"];
  studio.dataPanels = {};
  const names = () => [...ORDER, ...Object.keys(studio.dataPanels).filter((name) => !ORDER.includes(name))].filter((name) => studio.dataPanels[name]);

  studio.drawData = (element, server) => {
    const frame = element.querySelector(".data");
    const ask = async (action, body = {}) => await server.data({ language: studio.language, action, ...body }) ?? { error: say("page.header.offline") };
    const side = studio.dataSide(element.querySelector(".data-detail"), ask, { choose: (...words) => choose(...words), refresh: async () => { while (busy) await new Promise((done) => setTimeout(done, 30)); await tick(); } });
    const list = studio.dataList(element.querySelector(".data-list"), (name, view) => choose(name, view, true));
    let busy = false;

    // `view` is a panel's name; with no dataset it is "add" or a panel that stands alone, or nothing at all.
    function choose(name, view, push, place) {
      if (push !== null) studio.address({ dataset: name, view, row: place?.row ?? null, q: null }, push);
      // Another dataset is read from its top, however far down the last one was.
      if (name !== side.name && push !== null && frame.getBoundingClientRect().top < 0) frame.scrollIntoView();
      list.choose(name, name ? null : view);
      side.open(name, view, list.find(name), place);
      frame.classList.toggle("has-choice", Boolean(name || view));
    }
    const fromAddress = () => {
      const name = studio.parameter("dataset"), view = studio.parameter("view"), row = studio.parameter("row");
      choose(name, name || side.standsAlone(view) ? view : null, null, row ? { row: Number(row) } : undefined);
    };

    async function tick() {
      if (busy || studio.tab() !== "data") return;
      busy = true;
      try {
        const reply = await studio.within(server.data({ language: studio.language, action: "list.all", version: list.version }));
        if (!reply) return;  // the server does not answer; the header says so
        if (reply.error) { list.fail(reply.error); return; }
        if (!reply.datasets) return;
        list.set(reply);
        side.know(list.find(side.name));
        if (!side.name && !side.view && list.first() && innerWidth > 900) choose(list.first(), null, false);
      } finally { busy = false; }
    }

    document.addEventListener("studio-back", () => { if (studio.tab() === "data") fromAddress(); });
    studio.data = { ask, choose };  // for what lies outside the tab
    document.addEventListener("studio-tab", (event) => { if (event.detail === "data") { studio.address({ dataset: side.name, view: side.view }); tick(); } });
    element.querySelector(".back").addEventListener("click", () => choose(null, null, true));
    if (studio.tab() === "data") fromAddress(); else choose(null, null, null);
    studio.repeat(2000, tick);
  };

  // ---- the right side: one dataset, or what needs none ----
  studio.dataSide = (host, ask, page) => {
    host.innerHTML = `<p class="choose">${safe(say("page.data.choose"))}</p>
      <div class="one" hidden><header><h2 tabindex="-1"></h2><span class="facts"></span><span class="tools"><button class="train"></button><button class="forget"></button></span></header>
      <div class="dialog" hidden></div><p class="trouble" hidden></p><nav role="tablist"></nav></div><div class="view"></div>`;
    const find = (selector) => host.querySelector(selector);
    const api = { name: null, view: null };
    let close = null, facts = null, held = "";
    const standing = (name) => name === "add" ? studio.dataAdd : studio.dataPanels[name]?.standalone ? studio.dataPanels[name] : null;
    api.standsAlone = (name) => Boolean(standing(name));

    const context = (place) => {
      const name = api.name;
      return {
        name, language: studio.language, say, place,
        get facts() { return facts; },
        ask: (action, body) => ask(action, name ? { name, ...body } : body),
        open: (row, more) => page.choose(more?.name ?? name, "rows", true, { row, ...more }),
        choose: (other, view) => page.choose(other, view ?? null, true),
        refresh: page.refresh,
      };
    };
    // Nothing can be seen of a dataset that is broken, or that a hub has and that was not fetched yet.
    const hold = () => (!api.name ? "" : facts?.problem ? "problem" : facts?.to_fetch ? "fetch" : "");
    const show = (panel, place) => {
      if (typeof close === "function") close();
      const box = document.createElement("div");
      box.className = `panel panel-${api.view || ""}`;
      find(".view").replaceChildren(box);
      held = hold();
      close = held === "fetch" ? studio.dataFetch(box, context()) : held || !panel ? null : panel.draw(box, context(place));
    };
    api.open = (name, view, known, place) => {
      const same = name === api.name;
      const usual = name && !names().filter((one) => !studio.dataPanels[one].standalone).includes(view) ? "rows" : view;
      if (same && usual === api.view && !place && (name || view)) return;
      api.name = name;
      api.view = usual || null;
      find(".choose").hidden = Boolean(name || standing(view));
      find(".one").hidden = !name;
      find(".dialog").hidden = true;
      if (!same) { facts = null; find("h2").textContent = name || ""; find(".facts").textContent = ""; find(".trouble").hidden = true; }
      api.know(known);
      drawNav();
      show(name ? studio.dataPanels[usual] : standing(view), place);
    };
    const drawNav = () => {
      find("nav").innerHTML = names().filter((name) => !studio.dataPanels[name].standalone).map((name) => `<button role="tab" data-view="${safe(name)}"
        aria-selected="${name === api.view}" class="${name === api.view ? "chosen" : ""}">${safe(say(studio.dataPanels[name].title_key))}</button>`).join("");
    };
    find("nav").addEventListener("click", (event) => {
      const view = event.target.dataset.view;
      if (!view) return;
      page.choose(api.name, view, true);
      find(`nav [data-view="${view}"]`)?.focus();
    });
    find("nav").addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], tabs = [...host.querySelectorAll("nav button")];
      if (step) tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length]?.focus();
    });

    // What the list knows of the open dataset; a dataset that is gone says so.
    api.know = (known) => {
      if (!api.name || known === undefined) return;  // undefined: the list has not come yet
      facts = known;
      find(".facts").textContent = known ? studio.dataFacts(known).join(" · ") : "";
      const trouble = find(".trouble"), text = known ? known.problem : say("page.data.gone", { name: api.name });
      find(".train").hidden = !known || Boolean(known.problem);
      find("nav").hidden = Boolean(known?.problem);
      if (hold() !== held && api.view) show(studio.dataPanels[api.view]);
      trouble.hidden = !text;
      trouble.textContent = text || "";
    };
    find(".train").textContent = say("page.data.train");
    find(".train").addEventListener("click", () => { studio.openTab("train"); studio.fillForm({ dataset: api.name }); });
    find(".forget").textContent = say("page.data.remove");
    find(".forget").addEventListener("click", async () => {
      const file = facts?.file && facts.size !== null && facts.removable;
      const box = await studio.dataAsk(find(".dialog"), `<p>${safe(say("page.data.remove_ask", { name: api.name }))}</p>
        ${file ? `<label><input type="checkbox" name="file"> ${safe(say("page.data.remove_file", { file: facts.file, size: studio.bytes(facts.size) }))}</label>` : ""}`, say("page.data.remove"));
      const reply = await ask("list.remove", { name: api.name, file: Boolean(box.querySelector("[name=file]")?.checked) });
      studio.toast(reply.error || reply.message, Boolean(reply.error));
      if (!reply.error) { page.choose(null, null, true); page.refresh(); }
    });
    return api;
  };

  // A question in place; resolves with the box when it is answered with yes.
  studio.dataAsk = (box, html, yes) => {
    box.hidden = false;
    box.innerHTML = `${html}<div class="row"><button class="yes">${safe(yes)}</button><button class="no">${safe(say("page.data.cancel"))}</button></div>`;
    box.querySelector(".no").addEventListener("click", () => { box.hidden = true; });
    box.querySelector("input:not([type=checkbox])")?.focus();
    return new Promise((resolve) => box.querySelector(".yes").addEventListener("click", () => { box.hidden = true; resolve(box); }));
  };

  studio.count = (value) => Number(value).toLocaleString(studio.language);
  studio.dataFacts = (known) => [
    known.formatting ? say(`page.data.formats.${known.formatting}`) : "",
    known.to_fetch ? say("page.data.fetch.not_here") : "",
    known.rows === null ? (known.indexed < 1 ? say("page.data.counting", { share: Math.floor(known.indexed * 100) }) : "") : say(known.rows === 1 ? "page.data.row" : "page.data.rows_count", { count: studio.count(known.rows) }),
    known.size === null ? "" : studio.bytes(known.size),
    known.tokens ? say("page.data.tokens_count", { count: studio.short(known.tokens) }) : "",
    known.versions > 1 ? say("page.data.versions_count", { count: known.versions }) : "",
  ].filter(Boolean);
})();
