// The list of datasets: what can be used first, what cannot be used here folded below it.
(() => {
  const say = studio.say, safe = studio.escape;

  studio.dataList = (host, choose) => {
    const alone = Object.entries(studio.dataPanels).filter(([, panel]) => panel.standalone);
    host.innerHTML = `<div class="list-tools"><input type="search" placeholder="${safe(say("page.data.search"))}" aria-label="${safe(say("page.data.search"))}">
      <button class="add" data-view="add">${safe(say("page.data.add.button"))}</button>${alone
        .map(([name, panel]) => `<button data-view="${safe(name)}">${safe(say(panel.title_key))}</button>`).join("")}</div>
      <ul class="usable"></ul><p class="none" hidden></p><details class="others" hidden><summary></summary><ul></ul></details>`;
    const search = host.querySelector("input"), none = host.querySelector(".none"), others = host.querySelector(".others");
    const api = { version: null, datasets: [], chosen: null, view: null };
    let failure = "";

    const draw = () => {
      const word = search.value.trim().toLowerCase();
      const found = api.datasets.filter((one) => `${one.name} ${one.file}`.toLowerCase().includes(word));
      const usable = found.filter((one) => !one.problem), broken = found.filter((one) => one.problem);
      const focused = document.activeElement?.dataset?.dataset, scroll = host.scrollTop;
      paint(host.querySelector(".usable"), usable);
      paint(others.querySelector("ul"), broken);
      others.hidden = !broken.length;
      others.querySelector("summary").textContent = say("page.data.unusable", { count: broken.length });
      if (broken.some((one) => one.name === api.chosen) || (word && broken.length && !usable.length)) others.open = true;
      none.hidden = Boolean(found.length) && !failure;
      none.textContent = failure || say(word ? "page.data.none_found" : "page.data.none", { word });
      none.classList.toggle("bad", Boolean(failure));
      for (const button of host.querySelectorAll("[data-view]")) button.classList.toggle("chosen", button.dataset.view === api.view);
      if (focused) host.querySelector(`[data-dataset="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      host.scrollTop = scroll;
    };
    const paint = (list, datasets) => {
      const html = datasets.map((one) => `<li><button data-dataset="${safe(one.name)}" class="${one.name === api.chosen ? "chosen" : ""}" ${one.name === api.chosen ? 'aria-current="true"' : ""}>
        <span class="line"><b>${safe(one.name)}</b>${mark(one)}</span>
        <span class="note">${safe(one.problem || studio.dataFacts(one).join(" · "))}</span></button></li>`).join("");
      if (list.dataset.html === html) return;
      list.dataset.html = html;
      list.innerHTML = html;
    };
    const mark = (one) => {
      if (one.problem) return "";
      const unsaved = one.unsaved ? `<span class="mark unsaved" title="${safe(say("page.data.unsaved", { count: one.unsaved }))}">✎ ${studio.short(one.unsaved)}</span>` : "";
      return unsaved + studio.dataMark(one.checked);
    };
    search.addEventListener("input", draw);
    host.addEventListener("click", (event) => {
      const button = event.target.closest("[data-dataset], .list-tools [data-view]");
      if (button) choose(button.dataset.dataset ?? null, button.dataset.view ?? null);
    });
    host.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      const buttons = [...host.querySelectorAll("[data-dataset]")].filter((button) => button.offsetParent);
      const at = buttons.indexOf(document.activeElement);
      if (at < 0 && document.activeElement !== search) return;
      event.preventDefault();
      (buttons[at + step] ?? search).focus();
    });
    api.set = ({ version, datasets }) => { Object.assign(api, { version, datasets }); failure = ""; draw(); };
    api.fail = (text) => { failure = text; api.version = null; draw(); };
    api.choose = (name, view) => { api.chosen = name; api.view = view; draw(); };
    api.find = (name) => (api.version === null ? undefined : api.datasets.find((one) => one.name === name) ?? null);
    api.first = () => api.datasets.find((one) => !one.problem)?.name;
    return api;
  };

  // What the last check said, as one sign whose shape tells it too.
  studio.dataMark = (checked) => {
    if (!checked) return "";
    const kind = checked.broken ? "broken" : checked.findings ? "found" : "clean";
    const text = say(`page.data.checked.${kind}`, { count: studio.count(checked.broken || checked.findings) });
    return `<span class="mark ${kind}" title="${safe(text)}" aria-label="${safe(text)}">${{ broken: "✕", found: "!", clean: "✓" }[kind]}</span>`;
  };
})();
