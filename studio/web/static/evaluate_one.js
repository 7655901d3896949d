// One evaluation: its head with state, progress and buttons, and below it the view of its scores or of its rows.
(() => {
  const say = studio.say, safe = studio.escape;
  const VIEWS = ["scores", "rows"];

  studio.evaluation = (host, page) => {
    const api = { name: null, head: null, results: null, rowsVersion: null };
    const { place, ask } = page;
    let versions = {}, panel = null, drawn = null;
    const find = (selector) => host.querySelector(selector);

    api.knows = () => (api.name ? versions : {});
    api.close = () => { api.name = null; panel?.close?.(); panel = null; };
    api.open = (name) => {
      if (!name) { api.close(); host.innerHTML = `<p class="ev-choose">${safe(say("page.evaluate.choose"))}</p>`; return; }
      if (name !== api.name) {
        api.close();
        Object.assign(api, { name, head: null, results: null, rowsVersion: null });
        versions = {};
        drawn = null;
        host.innerHTML = `<div class="ev-head"><h2 tabindex="-1"></h2><span class="badge"></span><span class="phase" role="status"></span></div>
          <p class="ev-about"></p><div class="ev-progress" role="progressbar" aria-valuemin="0" hidden><div></div></div>
          <div class="ev-actions"></div><div class="ev-dialog" hidden></div><div class="ev-trouble" hidden></div><ul class="ev-notices"></ul>
          <nav role="tablist">${VIEWS.map((view) => `<button role="tab" data-view="${view}">${safe(say(`page.evaluate.views.${view}`))}</button>`).join("")}</nav><div class="ev-view"></div>`;
        find("h2").textContent = name;
      }
      const view = VIEWS.includes(place.view) ? place.view : "scores";
      for (const button of host.querySelectorAll("nav [data-view]")) {
        const own = button.dataset.view === view;
        button.classList.toggle("chosen", own);
        button.setAttribute("aria-selected", own);
        button.tabIndex = own ? 0 : -1;
      }
      if (drawn !== view) {
        panel?.close?.();
        drawn = view;
        const box = document.createElement("div");
        box.className = `ev-panel ev-panel-${view}`;
        find(".ev-view").replaceChildren(box);
        panel = view === "rows" ? studio.evaluateRows(box, api, page) : studio.evaluateScores(box, api, page);
      }
      if (api.head) panel.moved();
    };
    api.set = (reply) => {
      if (reply.missing) { api.close(); host.innerHTML = `<p class="ev-choose">${safe(reply.missing)}</p>`; return; }
      if (reply.head) { versions.head = reply.head.version; api.head = reply.head; drawHead(reply.head); }
      if (reply.table) { versions.table = reply.table.version; api.results = reply.table.results; }
      const moved = reply.head || reply.table || reply.rows_version !== api.rowsVersion;
      api.rowsVersion = reply.rows_version;
      if (moved && panel) panel.moved();
    };

    // ---- the head ----
    const drawHead = (run) => {
      find(".badge").innerHTML = studio.stateBadge(run);
      find(".ev-about").textContent = [run.about.model, run.about.candidates.map(studio.candidate).join(", "), run.about.datasets.join(", ")].filter(Boolean).join(" · ");
      drawProgress(run);
      const trouble = find(".ev-trouble");
      trouble.hidden = !run.cause;
      trouble.className = `ev-trouble ${run.state}`;
      trouble.innerHTML = run.cause ? `<h3>${safe(say("page.runs.cause"))}</h3><p>${safe(run.cause)}</p>${run.advice ? `<h3>${safe(say("page.runs.advice"))}</h3><p>${safe(run.advice)}</p>` : ""}` : "";
      find(".ev-notices").innerHTML = run.notices.map((text) => `<li>${safe(text)}</li>`).join("");
      const danger = (action) => (action === "remove" || action === "kill" ? "danger" : "");
      const html = run.actions.map((action) => `<button data-do="${action}" class="${danger(action)}">${safe(say(`page.runs.actions.${action}`))}</button>`).join("")
        + (run.rescorable ? `<button data-rescore ${run.rescoring ? "disabled" : ""}>${safe(say(run.rescoring ? "page.evaluate.rescoring" : "page.evaluate.rescore"))}</button>` : "")
        + `<button data-log>${safe(say("page.evaluate.log"))}</button><span class="files">${run.files.map((what) => `<button data-file="${what}">⤓ ${safe(say(`page.evaluate.files.${what}`))}</button>`).join("")}</span>`;
      const box = find(".ev-actions");
      if (box.dataset.html !== html) { box.dataset.html = html; box.innerHTML = html; }
      if (run.rescoring_trouble) studio.toast(run.rescoring_trouble, true);
    };
    const drawProgress = (run) => {
      const bar = find(".ev-progress"), share = run.total ? run.step / run.total : 0;
      bar.hidden = !run.active && run.state !== "queued" && !(run.total && run.step < run.total);
      bar.classList.toggle("unknown", run.active && !run.total);
      bar.setAttribute("aria-valuemax", run.total || 1);
      bar.setAttribute("aria-valuenow", run.step);
      bar.firstElementChild.style.width = `${(share * 100).toFixed(2)}%`;
      const parts = [run.active ? [run.phase, run.message].filter(Boolean).join(": ") : "", run.total && !bar.hidden ? `${run.step}/${run.total}` : ""];
      if (run.active && run.eta_seconds !== null) parts.push(say("page.runs.left", { time: studio.time(run.eta_seconds) }));
      if (run.state === "queued" && !run.held) parts.push(say("page.runs.position", { position: run.position }));
      const text = parts.filter(Boolean).join(" · ");
      if (find(".phase").textContent !== text) find(".phase").textContent = text;
    };

    // ---- its buttons ----
    const question = (html, yes) => {
      const box = find(".ev-dialog");
      box.hidden = false;
      box.innerHTML = `${html}<div class="row"><button class="yes">${safe(yes)}</button><button class="no">${safe(say("page.form.exists_cancel"))}</button></div>`;
      box.querySelector(".no").addEventListener("click", () => { box.hidden = true; });
      box.querySelector(".yes").focus();
      return new Promise((resolve) => box.querySelector(".yes").addEventListener("click", () => resolve(box)));
    };
    const confirmed = { remove: "page.evaluate.confirm_remove", kill: "page.evaluate.confirm_kill" };
    const act = async (action) => {
      if (confirmed[action]) {
        const box = await question(`<p>${safe(say(confirmed[action], { name: api.name, size: studio.bytes(api.head.size) }))}</p>`, say(`page.runs.actions.${action}`));
        box.hidden = true;
      }
      const reply = await ask("act", { name: api.name, do: action });
      studio.toast(reply.error || reply.message, Boolean(reply.error));
      if (reply.gone && !reply.error) page.go({ name: null }); else await page.tick();
    };
    const download = async (what) => {
      const reply = await ask("download", { name: api.name, what });
      if (reply.error) { studio.toast(reply.error, true); return; }
      const link = document.createElement("a");
      link.href = reply.link;
      link.click();
    };
    const rescore = async () => {
      const described = await ask("rescore_form", { name: api.name });
      if (described.error) { studio.toast(described.error, true); return; }
      question(`<p>${safe(say("page.evaluate.rescore_says"))}</p><div class="drawn-form"></div>`, say("page.evaluate.rescore"));
      const box = find(".ev-dialog"), yes = box.querySelector(".yes");
      const form = studio.drawnForm(box.querySelector(".drawn-form"), described, described.shown, () => form.judge({}));
      yes.addEventListener("click", async () => {
        yes.disabled = true;
        const reply = await ask("rescore", { name: api.name, values: form.values });
        yes.disabled = false;
        if (reply.fields) form.judge(reply.fields); else box.hidden = true;
        studio.toast(reply.error || reply.message, Boolean(reply.error));
        await page.tick();
      });
    };
    host.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button || !api.name) return;
      const { do: action, file, view } = button.dataset;
      if (action) act(action);
      if (file) download(file);
      if (view) page.go({ view: view === "scores" ? null : view, row: null });
      if ("rescore" in button.dataset) rescore();
      if ("log" in button.dataset) { studio.address({ tab: "runs", run: api.name, view: "log" }, true); studio.openTab("runs", false); document.dispatchEvent(new CustomEvent("studio-run", { detail: api.name })); }
    });
    host.addEventListener("keydown", (event) => {  // tabs by arrows, as everywhere
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], tabs = [...host.querySelectorAll("nav [data-view]")];
      const at = tabs.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.stopPropagation();
      const next = tabs[(at + step + tabs.length) % tabs.length];
      page.go({ view: next.dataset.view === "scores" ? null : next.dataset.view, row: null });
      next.focus();
    });
    return api;
  };
})();
