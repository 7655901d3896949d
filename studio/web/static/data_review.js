// Generate: start a job that lets a model write rows, then accept, edit or reject what it wrote.
(() => {
  const say = studio.say, safe = studio.escape, words = (key, values) => say(`page.data.review.${key}`, values);
  const KEPT = "studio-generate-form";
  const STATES = ["pending", "accepted", "rejected", "added"];

  studio.dataPanels.review = {
    title_key: "page.data.review.title",
    standalone: true,
    draw: (element, context) => {
      element.innerHTML = `<h2>${safe(words("title"))}</h2><ul class="made-runs" aria-label="${safe(words("jobs"))}"></ul><div class="made"></div>`;
      const list = element.querySelector(".made-runs"), body = element.querySelector(".made");
      let runs = [], version = null, chosen, open = null;

      const drawRuns = () => {
        const cards = runs.map((run) => `<li><button data-run="${safe(run.name)}" class="${run.name === chosen ? "chosen" : ""}"><b>${safe(run.name)}</b>
          <span>${studio.stateBadge(run)}<span class="muted number">${safe(note(run))}</span></span></button></li>`);
        const html = `<li><button data-run="" class="${chosen === null ? "chosen" : ""}"><b>＋ ${safe(words("new"))}</b><span class="muted">${safe(words("new_note"))}</span></button></li>${cards.join("")}`;
        if (list.dataset.html === html) return;
        const focused = document.activeElement?.closest?.(".made-runs") ? document.activeElement.dataset.run : undefined;
        list.dataset.html = list.innerHTML = html;
        list.dataset.html = html;
        if (focused !== undefined) list.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
      };
      const note = (run) => {
        if (run.active && run.total) return `${run.step}/${run.total}`;
        if (run.counts.pending) return words("waiting", { count: studio.count(run.counts.pending) });
        return run.counts.added ? words("added_count", { count: studio.count(run.counts.added) }) : "";
      };
      const choose = (name, push) => {
        if (name === chosen) return;
        chosen = name;
        studio.address({ run: name }, push);
        open?.close?.();
        const box = document.createElement("div");
        body.replaceChildren(box);
        open = name ? queue(box, context, name, () => tick()) : form(box, context, (run) => { choose(run, true); tick(); });
        drawRuns();
        open.know?.(runs.find((run) => run.name === name));
      };
      list.addEventListener("click", (event) => {
        const button = event.target.closest("[data-run]");
        if (button) choose(button.dataset.run || null, true);
      });

      let busy = false;
      const tick = async () => {
        if (busy || document.hidden || !element.isConnected || studio.tab() !== "data") return;
        busy = true;
        const reply = await context.ask("review.runs", { version });
        busy = false;
        if (reply.runs) { runs = reply.runs; version = reply.version; drawRuns(); }
        open?.know?.(runs.find((run) => run.name === chosen));
        open?.tick?.();
      };
      const wanted = studio.parameter("run");
      const first = async () => {
        await tick();
        choose(runs.some((run) => run.name === wanted) ? wanted : null, false);
      };
      first();
      const timer = setInterval(tick, 1500);
      const back = () => choose(runs.some((run) => run.name === studio.parameter("run")) ? studio.parameter("run") : null, false);
      addEventListener("popstate", back);
      return () => { clearInterval(timer); removeEventListener("popstate", back); open?.close?.(); };
    },
  };

  // ---- a new job ----
  const form = (box, context, started) => {
    box.className = "made-new";
    box.innerHTML = `<div class="drawn-form"></div><aside class="made-summary"><h3>${safe(say("page.form.this_run"))}</h3>
      <div class="named"></div><p class="sentence"></p><ul class="notices"></ul>
      <div class="tools-row"><button class="button strong begin" disabled>${safe(say("page.form.start"))}</button><button class="button reset">${safe(say("page.form.reset"))}</button></div>
      <h3>${safe(say("page.form.command"))}</h3><div class="command-line"><pre></pre><button class="copy">${safe(say("page.form.copy"))}</button></div></aside>`;
    const find = (selector) => box.querySelector(selector);
    let drawn = null, name = null, asked = 0, pause = null;
    const kept = () => { try { return JSON.parse(localStorage.getItem(KEPT)) || {}; } catch { return {}; } };
    const values = () => ({ ...drawn.values, ...name.values });
    const check = async () => {
      const turn = ++asked, reply = await context.ask("review.check", { values: values() });
      if (turn !== asked || !box.isConnected) return;
      if (reply.error) { find(".sentence").textContent = reply.error; return; }
      drawn.judge(reply.fields);
      name.judge(reply.fields);
      find(".sentence").textContent = reply.sentence;
      find(".begin").disabled = reply.blocked;
      const said = [...Object.entries(reply.fields).map(([key, one]) => ({ ...one, label: labels[key] })), ...reply.others];
      find(".notices").innerHTML = said.sort((one, other) => (other.severity === "fault") - (one.severity === "fault"))
        .map((one) => `<li class="${one.severity}"><b>${safe(one.label || "")}</b> ${safe(one.text)}</li>`).join("");
      find(".command-line pre").textContent = reply.command;
    };
    let labels = {};
    const heard = () => {
      localStorage.setItem(KEPT, JSON.stringify(drawn.values));
      clearTimeout(pause);
      pause = setTimeout(check, 200);
    };
    const fill = async (shown) => {
      const described = await context.ask("review.form");
      if (!box.isConnected || described.error) { find(".sentence").textContent = described.error || ""; return; }
      labels = Object.fromEntries(described.sections.flatMap((section) => section.fields.map((field) => [field.key, field.label])));
      drawn = studio.drawnForm(find(".drawn-form"), described, shown, heard);
      // The run's own name stands in the summary, as on the Train tab.
      const alone = { sections: [{ name: "run", title: "", fields: described.sections[0].fields }], values: {} };
      name = studio.drawnForm(find(".named"), alone, {}, heard);
      delete drawn.values.name;
      check();
    };
    find(".reset").addEventListener("click", () => { localStorage.removeItem(KEPT); fill({}); });
    find(".begin").addEventListener("click", async () => {
      find(".begin").disabled = true;
      const reply = await context.ask("review.start", { values: values() });
      studio.toast(reply.error || reply.message, Boolean(reply.error));
      if (reply.run) started(reply.run); else check();
    });
    fill(kept());
    return {};
  };

  // ---- what a job wrote ----
  const queue = (box, context, name, changed) => {
    box.className = "made-queue";
    box.innerHTML = `<header><h3>${safe(name)}</h3><span class="badge"></span><span class="phase muted number"></span><button class="link see">${safe(words("see_run"))}</button></header>
      <div class="progress" role="progressbar" aria-valuemin="0"><div></div></div><p class="note-box bad cause" hidden></p><ul class="said-by-run"></ul>
      <div class="filters" role="tablist"></div>
      <div class="tools-row decide"><button class="button accept" data-verdict="accept"></button><button class="button reject" data-verdict="reject"></button><button class="button reopen" data-verdict="reopen"></button><button class="button undo">${safe(words("undo"))}</button>
        <form class="adding push"><label class="inline"><span></span><input name="to" autocomplete="off" spellcheck="false" list="made-datasets" aria-label="${safe(words("dataset"))}"></label><button class="button strong">${safe(words("add"))}</button></form></div>
      <p class="muted keys">${safe(words("keys"))}</p><p class="note-box empty" hidden></p><ol class="made-rows"></ol>
      <div class="tools-row pager"><button class="button small" data-step="-1">‹</button><span class="muted number"></span><button class="button small" data-step="1">›</button></div>
      <details class="failed" hidden><summary></summary><ul></ul></details>`;
    const find = (selector) => box.querySelector(selector);
    let state = "pending", start = 0, shown = null, version = null, run = null, editing = null;
    const marked = new Set();

    const ask = async (verb, more = {}) => {
      const reply = await context.ask(`review.${verb}`, { run: name, ...more });
      if (reply.error || reply.message) studio.toast(reply.error || reply.message, Boolean(reply.error));
      return reply;
    };
    const load = async (again) => {
      const reply = await context.ask("review.rows", { run: name, state, start, version: again ? null : version });
      if (!box.isConnected || reply.error || !reply.rows) return;
      shown = reply;
      version = reply.version;
      if (start && !reply.rows.length) { start = Math.max(0, start - 20); load(true); return; }
      drawTools();
      if (editing === null) drawRows();
    };
    const act = async (verb, more) => {
      const reply = await ask(verb, more);
      if (reply.error) return reply;
      marked.clear();
      editing = null;
      await load(true);
      changed();
      return reply;
    };

    const drawTools = () => {
      const filters = ["", ...STATES].map((one) => {
        const count = one ? shown.counts[one] : STATES.reduce((sum, each) => sum + shown.counts[each], 0);
        return `<button role="tab" data-state="${one}" aria-selected="${one === state}" class="${one === state ? "chosen" : ""}">${safe(words(`states.${one || "all"}`))} <span class="number">${studio.count(count)}</span></button>`;
      }).join("");
      if (find(".filters").dataset.html !== filters) find(".filters").innerHTML = find(".filters").dataset.html = filters;
      const many = marked.size ? words("selected", { count: marked.size }) : words("every", { count: studio.count(shown.total) });
      for (const [verdict, states] of [["accept", ["pending", "rejected"]], ["reject", ["pending", "accepted"]], ["reopen", ["accepted", "rejected"]]]) {
        const button = find(`[data-verdict="${verdict}"]`), fits = states.includes(state) || (state === "" && marked.size > 0);
        button.hidden = !fits || (verdict === "reopen" && state === "");
        button.disabled = !shown.total;
        button.textContent = `${words(verdict)} ${many}`;
      }
      find(".undo").disabled = !shown.can_undo;
      const adding = find(".adding"), accepted = shown.counts.accepted;
      adding.querySelector("span").textContent = words("add_to", { count: studio.count(accepted) });
      adding.querySelector("button").disabled = !accepted;
      if (!adding.to.value && document.activeElement !== adding.to) adding.to.value = shown.dataset;
      const last = Math.min(start + 20, shown.total);
      find(".pager").hidden = shown.total <= 20;
      find(".pager span").textContent = words("range", { first: shown.total ? start + 1 : 0, last, total: studio.count(shown.total) });
      find('[data-step="-1"]').disabled = !start;
      find('[data-step="1"]').disabled = last >= shown.total;
      const none = find(".empty"), any = STATES.some((one) => shown.counts[one]);
      none.hidden = shown.total > 0;
      none.textContent = any ? words(state === "pending" ? "all_decided" : "none_here") : words("nothing_yet");
      find(".keys").hidden = !shown.total;
      find(".failed").hidden = !shown.failed;
      find(".failed summary").textContent = words("failed", { count: studio.count(shown.failed) });
      const failures = shown.failures.map((one) => `<li><b>${safe(one.origin)}</b> ${safe(one.reason)}${one.raw ? `<pre class="code">${safe(one.raw)}</pre>` : ""}</li>`).join("");
      if (find(".failed ul").dataset.html !== failures) find(".failed ul").innerHTML = find(".failed ul").dataset.html = failures;
    };
    const turn = (role, text) => `<div class="turn ${role}"><span class="who">${safe(say(`page.data.who.${role}`))}</span><span class="said">${safe(text)}</span></div>`;
    const field = (role, text, key) => `<label class="turn ${role}"><span class="who">${safe(say(`page.data.who.${role}`))}</span><textarea data-part="${key}" rows="${Math.min(14, Math.max(2, Math.ceil(text.length / 90) + text.split("\n").length - 1))}">${safe(text)}</textarea></label>`;
    const drawRow = (row) => {
      const part = row.number === editing ? field : turn;
      const said = row.messages.map((message, at) => part(message.role, message.content, at)).join("") + (row.chosen ? part("chosen", row.chosen, "chosen") + part("rejected", row.rejected, "rejected") : "");
      const fixed = row.state === "added";
      const buttons = row.number === editing
        ? `<button class="button small strong" data-do="save_accept">${safe(words("save_accept"))}</button><button class="button small" data-do="save">${safe(words("save"))}</button><button class="button small" data-do="cancel">${safe(say("page.data.cancel"))}</button>`
        : fixed ? `<span class="muted">${safe(words("is_in", { name: row.dataset }))}</span>`
        : `${row.state === "accepted" ? "" : `<button class="button small accept" data-do="accept">${safe(words("accept"))}</button>`}${row.state === "rejected" ? "" : `<button class="button small reject" data-do="reject">${safe(words("reject"))}</button>`}<button class="button small" data-do="edit">${safe(words("edit"))}</button>`;
      return `<li class="made-row ${row.state}" data-row="${row.number}" tabindex="-1"><div class="line">
          <label class="inline">${fixed ? "" : `<input type="checkbox" ${marked.has(row.number) ? "checked" : ""} aria-label="${safe(words("select", { number: row.number }))}">`}<span class="place number">${row.number}</span></label>
          <span class="mark ${row.state}">${safe(words(`states.${row.state}`))}${row.edited ? ` · ${safe(words("edited"))}` : ""}</span>
          ${row.passage ? `<details class="from"><summary>${safe(row.origin)}</summary><p>${safe(row.passage)}</p></details>` : `<span class="from muted">${safe(row.origin)}</span>`}
          <span class="do">${buttons}</span></div><div class="turns">${said}</div></li>`;
    };
    const drawRows = () => {
      const host = find(".made-rows"), focused = document.activeElement?.closest?.("[data-row]"), at = focused ? [...host.children].indexOf(focused) : -1;
      const opened = [...host.querySelectorAll("details[open]")].map((one) => one.closest("[data-row]").dataset.row);
      host.innerHTML = shown.rows.map(drawRow).join("");
      for (const number of opened) host.querySelector(`[data-row="${number}"] details`)?.setAttribute("open", "");
      if (editing !== null) { host.querySelector(`[data-row="${editing}"] textarea`)?.focus(); return; }
      if (at >= 0) host.children[Math.min(at, host.children.length - 1)]?.focus({ preventScroll: true });  // the next row takes the place of a decided one
    };

    const perform = async (action, number, card) => {
      const row = shown.rows.find((one) => one.number === number);
      if (!row || (row.state === "added")) return;
      if (action === "accept" || action === "reject") { card.focus({ preventScroll: true }); await act("decide", { verdict: action, rows: [number] }); return; }
      if (action === "edit") { editing = number; drawRows(); return; }
      if (action === "cancel") { editing = null; drawRows(); find(`[data-row="${number}"]`)?.focus(); return; }
      const part = (key) => card.querySelector(`[data-part="${key}"]`)?.value ?? "";
      const value = { messages: row.messages.map((message, at) => ({ role: message.role, content: part(at) })), chosen: part("chosen"), rejected: part("rejected") };
      await act("edit", { row: number, value, accept: action === "save_accept" });
    };
    find(".made-rows").addEventListener("click", (event) => {
      const card = event.target.closest("[data-row]"), number = Number(card?.dataset.row);
      if (event.target.dataset.do) perform(event.target.dataset.do, number, card);
      else if (event.target.type === "checkbox") { event.target.checked ? marked.add(number) : marked.delete(number); drawTools(); }
      else if (card && editing === null && !event.target.closest("details, label")) card.focus({ preventScroll: true });
    });
    find(".made-rows").addEventListener("keydown", (event) => {
      const card = event.target.closest("[data-row]"), number = Number(card?.dataset.row);
      if (editing !== null) {
        if (event.key === "Escape") perform("cancel", editing, card);
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) perform("save_accept", editing, card);
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("button, summary, input")) return;
      const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key], verb = { a: "accept", r: "reject", e: "edit" }[event.key];
      if (step) { event.preventDefault(); (step > 0 ? card.nextElementSibling : card.previousElementSibling)?.focus(); }
      if (verb) { event.preventDefault(); perform(verb, number, card); }
      if (event.key === "u" && shown.can_undo) { event.preventDefault(); act("undo"); }
    });
    find(".filters").addEventListener("click", (event) => {
      const button = event.target.closest("[data-state]");
      if (!button) return;
      state = button.dataset.state;
      start = 0;
      editing = null;
      marked.clear();
      load(true);
    });
    find(".decide").addEventListener("click", (event) => {
      const verdict = event.target.dataset.verdict;
      if (verdict) act("decide", { verdict, ...(marked.size ? { rows: [...marked] } : { state }) });
      if (event.target.classList.contains("undo")) act("undo");
    });
    find(".pager").addEventListener("click", (event) => {
      const step = Number(event.target.dataset.step);
      if (step) { start = Math.max(0, start + 20 * step); editing = null; marked.clear(); load(true); box.scrollIntoView({ block: "start" }); }
    });
    find(".adding").addEventListener("submit", async (event) => {
      event.preventDefault();
      const reply = await act("add", { to: event.target.to.value });
      if (!reply.error) context.refresh();
    });
    find(".see").addEventListener("click", () => studio.openRun(name));

    load(true);
    return {
      tick: () => load(false),
      know: (news) => {
        if (!news) return;
        run = news;
        const badge = studio.stateBadge(run), bar = find(".progress");
        if (find(".badge").innerHTML !== badge) find(".badge").innerHTML = badge;
        find(".phase").textContent = run.message || run.phase;
        bar.hidden = !run.active;
        bar.classList.toggle("unknown", run.active && !run.total);
        bar.setAttribute("aria-valuemax", run.total || 1);
        bar.setAttribute("aria-valuenow", run.step);
        bar.firstElementChild.style.width = `${run.total ? (100 * run.step) / run.total : 0}%`;
        find(".cause").hidden = !run.cause;
        find(".cause").textContent = [run.cause, run.advice].filter(Boolean).join("\n");
        find(".said-by-run").innerHTML = run.notices.map((text) => `<li>${safe(text)}</li>`).join("");
      },
    };
  };
})();
