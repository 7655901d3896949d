// The rows of a dataset: pages, search, and edits in place that wait in a draft until they are saved as a new version.
(() => {
  const say = studio.say, safe = studio.escape;
  const COUNT = 20;
  const FILTERS = ["", "is:broken", "is:order", "is:damaged", "is:changed", "is:added", "is:removed"];
  const SIGNS = { changed: "✎", added: "+", removed: "−" };

  studio.dataPanels.rows = {
    title_key: "page.data.rows.title",
    draw: (element, context) => {
      const place = context.place || {};
      const state = { start: Math.max(0, place.row ?? 0), total: null, rows: [], draft: null, raw: localStorage.getItem("studio-data-raw") === "yes", query: studio.parameter("q") || "", filter: "", finding: place.finding || null, ends: [], open: null };
      if (FILTERS.includes(state.query.split(" ")[0]) && state.query) { state.filter = state.query.split(" ")[0]; state.query = state.query.slice(state.filter.length).trim(); }
      element.innerHTML = `<div class="tools-row"><input type="search" class="query" placeholder="${safe(say("page.data.rows.search"))}" aria-label="${safe(say("page.data.rows.search"))}" title="${safe(say("page.data.rows.search_help"))}">
          <select class="filter" aria-label="${safe(say("page.data.rows.filter"))}">${FILTERS.map((filter) => `<option value="${filter}">${safe(say(`page.data.rows.filters.${filter.slice(3) || "all"}`))}</option>`).join("")}</select>
          <span class="finding" hidden></span>
          <span class="switch push" role="group"><button class="button small" data-raw="">${safe(say("page.data.rows.understood"))}</button><button class="button small" data-raw="yes">${safe(say("page.data.rows.raw"))}</button></span>
          <button class="button new">${safe(say("page.data.rows.add"))}</button></div>
        <div class="draft-bar" hidden><span class="text" role="status"></span><span class="push"></span><button class="button small undo">${safe(say("page.data.rows.undo"))}</button><button class="button small redo">${safe(say("page.data.rows.redo"))}</button>
          <button class="button small discard danger">${safe(say("page.data.rows.discard"))}</button><button class="button small strong save">${safe(say("page.data.rows.save"))}</button></div>
        <div class="dialog" hidden></div><p class="note-box say" hidden></p><p class="note-box warn shared" hidden></p><div class="top-form"></div><ol class="rows" aria-label="${safe(say("page.data.rows.title"))}"></ol>
        <div class="pager"><button class="button small first" aria-label="${safe(say("page.data.rows.first"))}">«</button><button class="button small before" aria-label="${safe(say("page.data.rows.before"))}">‹</button><span class="where number"></span>
          <button class="button small after" aria-label="${safe(say("page.data.rows.after"))}">›</button><button class="button small last" aria-label="${safe(say("page.data.rows.last"))}">»</button>
          <label class="inline muted jump">${safe(say("page.data.rows.jump"))} <input inputmode="numeric" size="8"></label></div>`;
      const find = (selector) => element.querySelector(selector);
      const list = find(".rows"), query = find(".query"), filter = find(".filter");
      query.value = state.query;
      filter.value = state.filter;
      const searching = () => Boolean(state.query || state.filter || state.finding);
      const words = () => [state.filter, state.query].filter(Boolean).join(" ");

      // ---- asking ----
      let asked = 0;
      const load = async () => {
        const mine = ++asked, current = () => mine === asked && element.isConnected;
        remember();
        if (!searching()) {
          const reply = await context.ask("rows.page", { start: state.start, count: COUNT });
          if (!current()) return;
          if (reply.error) return trouble(reply.error);
          if (!reply.rows.length && state.start && reply.total !== null && !reply.indexing) { state.start = lastStart(reply.total); return load(); }
          take(reply);
          tell(reply.indexing === undefined ? "" : say("page.data.rows.indexing", { share: Math.floor(reply.indexing * 100) }));
          if (reply.indexing !== undefined) setTimeout(() => { if (current()) load(); }, 600);
          return;
        }
        let rows = [], next = state.start, done = false;
        while (rows.length < COUNT && !done) {
          const reply = await context.ask("rows.search", { start: next, count: COUNT - rows.length, query: words(), ...(state.finding || {}) });
          if (!current()) return;
          if (reply.error) return trouble(reply.error);
          rows = [...rows, ...reply.rows];
          ({ next, done } = reply);
          take({ ...reply, rows });
          tell(done || rows.length >= COUNT ? "" : say("page.data.rows.looking", { rows: studio.count(next) }));
        }
        state.next = done ? null : next;
        if (!rows.length) tell(say(state.start ? "page.data.rows.no_more" : "page.data.rows.none_found"));
        drawPager();
      };
      const remember = () => studio.address({ row: state.start && !searching() ? state.start : null, q: words() || null });
      const trouble = (text) => { tell(text, true); state.rows = []; draw(); };
      const tell = (text, bad) => { const box = find(".say"); box.hidden = !text; box.textContent = text || ""; box.classList.toggle("bad", Boolean(bad)); };
      const take = (reply) => { Object.assign(state, { rows: reply.rows, total: reply.total, draft: reply.draft }); draw(); };
      const lastStart = (total) => Math.max(0, Math.floor((total - 1) / COUNT) * COUNT);

      // ---- drawing ----
      const cells = (row) => Object.entries(row.cells).map(([name, text]) => `<div class="turn cell"><span class="who" title="${safe(name)}">${safe(name)}</span><div><div class="said">${safe(text)}</div></div></div>`).join("");
      const body = (row) => {
        const fault = row.fault ? `<p class="fault">${safe(row.fault)}</p>` : row.hint && state.raw && !shared() ? `<p class="hint">${safe(row.hint)}</p>` : "";
        if (state.raw || row.fault) return `${fault}<div class="turns">${cells(row)}</div>`;
        return studio.dataRead(row, !shared());
      };
      // What is to be said of every row of the page is said once, above them.
      const shared = () => { const first = state.rows[0]?.hint; return first && state.rows.every((row) => row.hint === first) ? first : ""; };
      const label = (row) => (row.place < 0 ? say("page.data.rows.new") : studio.count(row.row));
      const item = (row) => `<li tabindex="0" data-place="${row.place}" class="${row.state} ${row.fault ? "faulty" : ""}"><span class="place number" title="${row.line && row.line !== row.row ? safe(say("page.data.rows.line", { line: row.line })) : ""}">${label(row)}${SIGNS[row.state] ? `<i title="${safe(say(`page.data.rows.states.${row.state}`))}">${SIGNS[row.state]}</i>` : ""}</span>
        <div class="what">${body(row)}</div><span class="do">${row.state === "removed" ? "" : `<button class="button small" data-do="edit">${safe(say("page.data.rows.edit"))}</button><button class="button small" data-do="add">${safe(say("page.data.rows.add_below"))}</button><button class="button small danger" data-do="remove">${safe(say("page.data.rows.remove"))}</button>`}</span></li>`;
      const draw = () => {
        if (state.open) return drawBar();  // a form is open among the rows: nothing may move under it
        const focused = document.activeElement?.closest?.("[data-place]")?.dataset.place;
        find(".shared").hidden = !shared();
        find(".shared").textContent = shared() ? `${say("page.data.columns.untrainable")} ${shared()}` : "";
        list.innerHTML = state.rows.map(item).join("");
        fold();
        if (focused !== undefined) list.querySelector(`[data-place="${focused}"]`)?.focus({ preventScroll: true });
        drawBar();
        drawPager();
      };
      // Long texts show their beginning; a button opens the row whole.
      const fold = () => {
        for (const row of list.children) {
          const long = [...row.querySelectorAll(".said")].some((said) => said.scrollHeight > said.clientHeight + 4 || said.textContent.endsWith("…"));
          if (long) row.querySelector(".what").insertAdjacentHTML("beforeend", `<button class="link more" data-do="more">${safe(say("page.data.rows.more"))}</button>`);
        }
      };
      const drawBar = () => {
        const draft = state.draft, bar = find(".draft-bar");
        bar.hidden = !draft || !(draft.count || draft.can_redo || draft.stale);
        if (bar.hidden) return;
        const parts = ["changed", "removed", "added"].filter((kind) => draft.counts[kind]).map((kind) => say(`page.data.rows.counts.${kind}`, { count: studio.count(draft.counts[kind]) }));
        find(".draft-bar .text").textContent = draft.stale || (draft.count ? `${say("page.data.unsaved", { count: studio.count(draft.count) })}${parts.length ? `: ${parts.join(", ")}` : ""}` : say("page.data.rows.nothing_left"));
        bar.classList.toggle("stale", Boolean(draft.stale));
        find(".undo").disabled = !draft.can_undo;
        find(".redo").disabled = !draft.can_redo;
        find(".save").disabled = !draft.count || Boolean(draft.stale);
        find(".discard").hidden = !draft.count && !draft.stale;
      };
      const drawPager = () => {
        const some = state.rows.length, last = state.start + some;
        find(".pager").hidden = !some && !state.start;
        find(".where").textContent = searching() ? (some ? say("page.data.rows.found", { count: some }) : "")
          : state.total === null ? `${studio.count(state.start + 1)}–${studio.count(last)}` : say("page.data.rows.where", { first: studio.count(state.start + 1), last: studio.count(last), total: studio.count(state.total) });
        find(".first").disabled = find(".before").disabled = !state.start;
        find(".after").disabled = searching() ? state.next === null || state.next === undefined : state.total !== null && last >= state.total;
        find(".last").hidden = find(".jump").hidden = searching();
        find(".last").disabled = state.total === null || last >= state.total;
        const finding = find(".finding");
        finding.hidden = !state.finding;
        if (state.finding) finding.innerHTML = `${safe(say(`page.data.findings.${state.finding.finding}`))} <button class="link" aria-label="${safe(say("page.data.cancel"))}">✕</button>`;
      };
      const drawSwitch = () => { for (const button of element.querySelectorAll("[data-raw]")) { const on = (button.dataset.raw === "yes") === state.raw; button.classList.toggle("chosen", on); button.setAttribute("aria-pressed", on); } };

      // ---- moving ----
      const go = (start) => { if (state.open && !closeForm()) return; state.start = Math.max(0, start); load().then(() => { if (element.getBoundingClientRect().top < 0) element.scrollIntoView(); }); };
      const restart = () => { state.ends = []; go(0); };
      let typing = null;
      query.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { state.query = query.value.trim(); restart(); }, 300); });
      filter.addEventListener("change", () => { state.filter = filter.value; restart(); });
      find(".finding").addEventListener("click", (event) => { if (event.target.closest("button")) { state.finding = null; restart(); } });
      find(".first").addEventListener("click", restart);
      find(".before").addEventListener("click", () => go(searching() ? state.ends.pop() ?? 0 : state.start - COUNT));
      find(".after").addEventListener("click", () => { if (searching()) { state.ends.push(state.start); go(state.next); } else go(state.start + COUNT); });
      find(".last").addEventListener("click", () => go(lastStart(state.total)));
      find(".jump input").addEventListener("change", (event) => {
        const row = parseInt(event.target.value.replace(/\D/g, ""), 10);
        if (row) go(Math.min(row, state.total ?? row) - 1);
        event.target.value = "";
      });
      element.querySelector(".switch").addEventListener("click", (event) => {
        if (event.target.dataset.raw === undefined) return;
        state.raw = event.target.dataset.raw === "yes";
        localStorage.setItem("studio-data-raw", state.raw ? "yes" : "");
        drawSwitch();
        draw();
      });

      // ---- editing ----
      const step = async (action, body) => {
        const reply = await context.ask(`rows.${action}`, body);
        if (reply.error) { studio.toast(reply.error, true); return reply; }
        state.draft = reply.draft;
        await load();
        context.refresh();
        return reply;
      };
      const closeForm = () => {
        const form = state.open;
        if (form?.changed() && !confirm(say("page.data.rows.lose"))) return false;
        state.open = null;
        form?.element.remove();
        for (const hidden of list.querySelectorAll(".editing")) hidden.classList.remove("editing");
        return true;
      };
      const openForm = async (row, after) => {
        if (!closeForm()) return;
        const known = await context.ask("rows.form", row === null ? {} : { place: row });
        if (known.error) { studio.toast(known.error, true); return; }
        const item = list.querySelector(`[data-place="${row ?? after}"]`), host = document.createElement(item ? "li" : "div");
        host.className = "form-row";
        if (item) item.after(host); else find(".top-form").append(host);
        if (row !== null) item?.classList.add("editing");
        state.open = studio.dataRowForm(host, known, {
          cancel: () => { if (closeForm()) { draw(); list.querySelector(`[data-place="${row ?? after}"]`)?.focus(); } },
          done: async (edit) => {
            const reply = row === null ? await context.ask("rows.add", { after, edit }) : await context.ask("rows.change", { place: row, edit });
            if (reply.error) return reply.error;
            state.open = null;
            host.remove();
            state.draft = reply.draft;
            if (row === null && after === null && !searching()) state.start = lastStart((state.total ?? 0) + 1);
            await load();
            context.refresh();
            list.querySelector(`[data-place="${reply.row.place}"]`)?.focus();
            return "";
          },
        });
        host.scrollIntoView({ block: "nearest" });
      };
      const removeRow = async (item) => {
        const next = item.nextElementSibling?.dataset.place ?? item.previousElementSibling?.dataset.place;
        await step("remove", { place: Number(item.dataset.place) });
        (list.querySelector(`[data-place="${item.dataset.place}"]`) ?? list.querySelector(`[data-place="${next}"]`))?.focus({ preventScroll: true });
      };
      const showWhole = async (item) => {
        const reply = await context.ask("rows.whole", { place: Number(item.dataset.place) });
        if (reply.error) { studio.toast(reply.error, true); return; }
        item.classList.add("whole");
        item.querySelector(".what").innerHTML = body(reply.row);
        item.focus({ preventScroll: true });
      };
      list.addEventListener("click", (event) => {
        const action = event.target.dataset.do, item = event.target.closest("[data-place]");
        if (!action || !item) return;
        if (action === "edit") openForm(Number(item.dataset.place), null);
        if (action === "add") openForm(null, Number(item.dataset.place));
        if (action === "remove") removeRow(item);
        if (action === "more") showWhole(item);
      });
      list.addEventListener("dblclick", (event) => {
        const item = event.target.closest("[data-place]:not(.removed)");
        if (item && !event.target.closest("button, textarea, input")) openForm(Number(item.dataset.place), null);
      });
      list.addEventListener("keydown", (event) => {
        const item = event.target;
        if (item.dataset.place === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
        const to = { ArrowDown: item.nextElementSibling, ArrowUp: item.previousElementSibling }[event.key];
        if (to) { event.preventDefault(); to.focus(); }
        if (item.classList.contains("removed")) return;
        if (event.key === "Enter" || event.key === "e") { event.preventDefault(); openForm(Number(item.dataset.place), null); }
        if (event.key === "Delete") { event.preventDefault(); removeRow(item); }
      });
      element.addEventListener("keydown", (event) => {
        if (!(event.ctrlKey || event.metaKey) || event.target.closest("textarea, input")) return;
        const key = event.key.toLowerCase(), again = key === "y" || (key === "z" && event.shiftKey);
        if ((key !== "z" && !again) || !(again ? state.draft?.can_redo : state.draft?.can_undo)) return;
        event.preventDefault();
        step(again ? "redo" : "undo", {});
      });
      find(".new").addEventListener("click", () => openForm(null, null));
      find(".undo").addEventListener("click", () => step("undo", {}));
      find(".redo").addEventListener("click", () => step("redo", {}));
      find(".discard").addEventListener("click", async () => {
        await studio.dataAsk(find(".dialog"), `<p>${safe(say("page.data.rows.discard_ask", { count: studio.count(state.draft.count) }))}</p>`, say("page.data.rows.discard"));
        step("discard", {});
      });
      find(".save").addEventListener("click", async () => {
        if (state.open && !closeForm()) return;
        find(".save").disabled = true;
        const watch = setInterval(async () => {
          const { rows } = await context.ask("rows.saving");
          if (rows) tell(say("page.data.rows.saving", { rows: studio.count(rows) }));
        }, 700);
        const reply = await context.ask("rows.save");
        clearInterval(watch);
        tell("");
        studio.toast(reply.error || reply.message, Boolean(reply.error));
        await load();
        context.refresh();
      });
      const leave = (event) => { if (state.open?.changed()) event.preventDefault(); };
      addEventListener("beforeunload", leave);
      // Rows of a large file are counted in the background; the list hears of it first.
      const counting = setInterval(() => {
        if (state.total !== null || context.facts?.rows == null) return;
        state.total = context.facts.rows + (state.draft?.counts.added ?? 0);
        drawPager();
      }, 1000);
      drawSwitch();
      load().then(() => {
        const item = place.row === undefined ? null : list.querySelector(`[data-place="${place.row}"]`);
        item?.focus({ preventScroll: true });
        item?.scrollIntoView({ block: "nearest" });
      });
      return () => { asked += 1; clearTimeout(typing); clearInterval(counting); removeEventListener("beforeunload", leave); };
    },
  };
})();
