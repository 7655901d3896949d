// The Runs tab: the list on the left, one run on the right. It asks the server what moved and draws only that.
(() => {
  const say = studio.say, safe = studio.escape;
  const MARK = { queued: "◌", held: "❚❚", starting: "◔", running: "●", stopping: "◐", finished: "✓", stopped: "■", failed: "✕", lost: "?" };
  const shownState = (run) => (run.state === "queued" && run.held ? "held" : run.state);
  const badge = (run) => `<span class="state ${shownState(run)}"><i aria-hidden="true">${MARK[shownState(run)]}</i> ${say(`page.runs.states.${shownState(run)}`)}</span>`;

  studio.drawRuns = (element, server) => {
    const list = studio.runList(element.querySelector(".run-list"), (name) => choose(name, true));
    const detail = studio.runDetail(element.querySelector(".run-detail"), act);
    const frame = element.querySelector(".runs");
    let chosen = studio.parameter("run");

    function choose(name, push) {
      if (name === chosen && detail.name === name) return;
      chosen = name;
      studio.address({ run: name }, push);
      list.choose(name);
      detail.open(name);
      frame.classList.toggle("has-choice", Boolean(name));
      tick();
    }

    async function act(action, values = {}) {
      const reply = await server.act({ language: studio.language, action, run: chosen, ...values }) ?? { error: say("page.header.offline") };
      studio.toast(reply.error || reply.message, Boolean(reply.error));
      if (reply.form) { studio.fillForm({ run: reply.form }); studio.openTab("train"); }
      if (reply.gone) choose(null, false);
      await tick();
      return reply;
    }

    let busy = false;
    async function tick() {
      if (busy || studio.tab() !== "runs") return;
      busy = true;
      let more = false;
      try {
        const name = chosen;
        const reply = await studio.within(server.tick({ language: studio.language, list: list.version, run: name, ...detail.wants() }));
        if (!reply) return;  // the server does not answer; the header says so
        if (reply.list) list.set(reply.list);
        if (name === chosen) detail.set(reply);
        more = Boolean(reply.panel?.more);  // one answer holds only so many points
        if (!chosen && list.first() && innerWidth > 900) choose(list.first(), false);
      } finally { busy = false; }
      if (more) await tick();
    }

    document.addEventListener("studio-run", (event) => choose(event.detail, false));
    document.addEventListener("studio-tab", (event) => { if (event.detail === "runs") tick(); });
    if (chosen) { list.choose(chosen); detail.open(chosen); frame.classList.add("has-choice"); }
    element.querySelector(".back").addEventListener("click", () => choose(null, true));
    studio.repeat(1000, tick);
  };

  studio.toast = (text, bad) => {
    if (!text) return;
    const note = document.createElement("div");
    note.className = `studio-toast ${bad ? "bad" : ""}`;
    note.setAttribute("role", bad ? "alert" : "status");
    note.textContent = text;
    document.body.append(note);
    setTimeout(() => note.remove(), bad ? 12000 : 4000);
  };

  studio.runList = (host, choose) => {
    host.innerHTML = `<div class="list-tools"><input type="search" placeholder="${safe(say("page.runs.search"))}" aria-label="${safe(say("page.runs.search"))}">
      <select aria-label="${safe(say("page.runs.all_states"))}"><option value="">${safe(say("page.runs.all_states"))}</option>${Object.keys(MARK)
        .map((state) => `<option value="${state}">${safe(say(`page.runs.states.${state}`))}</option>`).join("")}</select></div>
      <ul></ul><p class="none">${safe(say("page.runs.none"))}</p>`;
    const rows = host.querySelector("ul"), search = host.querySelector("input"), filter = host.querySelector("select");
    const api = { version: null, runs: [], chosen: null };
    const draw = () => {
      const word = search.value.trim().toLowerCase();
      const found = api.runs.filter((run) => run.name.toLowerCase().includes(word) && (!filter.value || shownState(run) === filter.value));
      host.querySelector(".none").hidden = api.runs.length > 0;
      const focused = document.activeElement?.dataset?.run;
      rows.innerHTML = found.map((run) => `<li><button data-run="${safe(run.name)}" class="${run.name === api.chosen ? "chosen" : ""}">
        <span class="line"><b>${safe(run.name)}</b>${spark(run.spark)}</span>
        <span class="line">${badge(run)}<span class="note">${safe(note(run))}</span></span></button></li>`).join("");
      if (focused) rows.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
    };
    const note = (run) => {
      if (run.state === "queued" && !run.held) return say("page.runs.position", { position: run.position });
      if (run.cause) return run.cause;
      if (run.total) return `${run.step}/${run.total}${run.loss === null ? "" : ` · ${studio.short(run.loss)}`}`;
      return run.phase || "";
    };
    const spark = (values) => {
      if (values.length < 2) return "";
      const low = Math.min(...values), high = Math.max(...values), span = high - low || 1;
      const path = values.map((value, at) => `${((at / (values.length - 1)) * 68 + 1).toFixed(1)},${(17 - ((value - low) / span) * 14).toFixed(1)}`);
      return `<svg class="spark" viewBox="0 0 70 20" aria-hidden="true"><polyline points="${path.join(" ")}"/></svg>`;
    };
    search.addEventListener("input", draw);
    filter.addEventListener("change", draw);
    rows.addEventListener("click", (event) => {
      const button = event.target.closest("[data-run]");
      if (button) choose(button.dataset.run);
    });
    api.set = ({ version, runs }) => { api.version = version; api.runs = runs; draw(); };
    api.choose = (name) => { api.chosen = name; draw(); };
    api.first = () => api.runs[0]?.name;
    return api;
  };

  studio.stateBadge = badge;
})();
