// The rows: found and put in order by the server, page by page; one row with its question, its reference and all answers
// side by side, and marked in each what differs from the reference.
(() => {
  const say = studio.say, safe = studio.escape;
  const PAGE = 20, PAUSE = 250;
  const ORDERS = ["row", "worst", "best", "apart"];

  studio.evaluateRows = (box, run, page) => {
    const { place, ask } = page;
    const wishes = localStorage;
    let html = "", asked = "", busy = false, timer = null, closed = false;
    box.innerHTML = `<div class="ev-filter" role="search"></div><div class="ev-rows"></div>`;
    const filter = box.querySelector(".ev-filter"), rows = box.querySelector(".ev-rows");

    const sets = () => (run.results?.datasets.length ? run.results.datasets : run.head.about.datasets);
    const scores = () => Object.keys(run.results?.higher || {});
    const candidates = () => run.results?.candidates || [...new Set([...run.head.about.candidates, ...Object.keys(run.head.counts)])];
    const query = () => ({ name: run.name, dataset: place.set, order: place.order, by: place.by, of: place.of, text: place.find, start: Number(place.from) || 0, count: PAGE });
    // In the address a row is its number; where there are several datasets its dataset stands in front.
    const spelled = (dataset, row) => (sets().length > 1 ? `${dataset}:${row}` : String(row));
    const opened = () => {
      if (!place.row) return null;
      const at = place.row.lastIndexOf(":");
      return { row_of: at < 0 ? sets()[0] : place.row.slice(0, at), row: Number(place.row.slice(at + 1)) };
    };

    // ---- finding and order ----
    const option = (value, text, chosen) => `<option value="${safe(value)}" ${value === (chosen || "") ? "selected" : ""}>${safe(text)}</option>`;
    const choice = (key, label, options) => `<label>${safe(label)}<select data-place="${key}">${options}</select></label>`;
    const drawFilter = () => {
      filter.hidden = Boolean(place.row);
      const by = place.by || scores()[0] || "", order = place.order || "row";
      const parts = [`<input type="search" data-place="find" placeholder="${safe(say("page.evaluate.find"))}" aria-label="${safe(say("page.evaluate.find"))}">`];
      if (sets().length > 1) parts.push(choice("set", say("page.evaluate.dataset"), option("", say("page.evaluate.all_sets"), place.set) + sets().map((name) => option(name, name, place.set)).join("")));
      if (scores().length) {
        parts.push(choice("order", say("page.evaluate.order"), ORDERS.map((name) => option(name === "row" ? "" : name, say(`page.evaluate.orders.${name}`), order === "row" ? "" : order)).join("")));
        parts.push(choice("by", say("page.evaluate.by"), scores().map((name) => option(name, studio.scoreName(name), by)).join("")));
        if (candidates().length > 1 && order !== "row" && order !== "apart") parts.push(choice("of", say("page.evaluate.of"), option("", say("page.evaluate.of_all"), place.of) + candidates().map((name) => option(name, studio.candidate(name), place.of)).join("")));
      }
      const now = parts.join("");
      if (filter.dataset.html === now) return;
      const focused = document.activeElement?.dataset?.place, old = filter.querySelector("input");
      filter.dataset.html = now;
      filter.innerHTML = now;
      const search = filter.querySelector("input");
      search.value = old ? old.value : place.find || "";
      if (focused) filter.querySelector(`[data-place="${focused}"]`)?.focus();
    };
    filter.addEventListener("input", (event) => {
      const key = event.target.dataset.place;
      if (!key) return;
      clearTimeout(timer);
      const go = () => page.go({ [key]: event.target.value || null, from: null }, false);
      if (key === "find") timer = setTimeout(go, PAUSE); else go();
    });

    // ---- the list ----
    const drawList = (reply) => {
      if (!reply.total) return `<p class="ev-hint">${safe(say(run.head.about.writes ? "page.evaluate.no_rows" : "page.evaluate.no_answers"))}</p>`;
      if (!reply.found) return `<p class="ev-hint">${safe(say("page.evaluate.none_found"))}</p>`;
      const names = candidates().filter((name) => !run.results || reply.candidates.includes(name)), several = sets().length > 1;
      const best = (values) => {
        const known = names.map((name) => values[name]).filter((value) => value !== undefined && value !== null);
        return known.length > 1 && new Set(known).size > 1 ? (run.results?.higher[reply.by] === false ? Math.min(...known) : Math.max(...known)) : null;
      };
      const cell = (one, name, top) => {
        const value = one.values[name];
        if (value === undefined) return `<td class="value missing" title="${safe(say("page.evaluate.not_yet"))}">…</td>`;
        if (value === null) return `<td class="value missing" title="${safe(say("page.evaluate.unscored"))}">✓</td>`;
        return `<td class="value ${value === top ? "top" : ""}">${safe(studio.figure(value))}</td>`;
      };
      const lines = reply.rows.map((one) => {
        const top = best(one.values);
        return `<tr data-row="${safe(spelled(one.dataset, one.row))}"><td class="number"><button>${several ? `${safe(one.dataset)} ` : ""}${one.row}</button></td><td class="asked"><div>${safe(one.prompt)}</div></td>${names.map((name) => cell(one, name, top)).join("")}</tr>`;
      });
      const last = Math.min(reply.start + PAGE, reply.found);
      const pager = `<div class="ev-pager"><button data-from="${Math.max(0, reply.start - PAGE)}" ${reply.start ? "" : "disabled"}>${safe(say("page.evaluate.previous_page"))}</button>
        <span>${safe(say("page.evaluate.page_of", { first: reply.start + 1, last, found: studio.count(reply.found) }))}</span><button data-from="${reply.start + PAGE}" ${last < reply.found ? "" : "disabled"}>${safe(say("page.evaluate.next_page"))}</button></div>`;
      const score = reply.by && run.results ? `<caption>${safe(studio.scoreName(reply.by))}</caption>` : "";
      return `<div class="ev-scroll"><table class="ev-found">${score}<thead><tr><th>${safe(say("page.evaluate.row"))}</th><th>${safe(say("page.evaluate.prompt"))}</th>${names.map((name) => `<th class="value">${safe(studio.candidate(name))}</th>`).join("")}</tr></thead><tbody>${lines.join("")}</tbody></table></div>${pager}`;
    };

    // ---- one row ----
    const words = (marks, text, missing) => marks === null ? safe(text) : marks.map(([kind, part]) => kind === "same" ? safe(part) : kind === "added" ? `<ins>${safe(part)}</ins>` : missing ? `<del>${safe(part)}</del>` : "").join("");
    const drawRow = (one) => {
      const missing = wishes.getItem("studio-evaluate-missing") !== "no", marked = wishes.getItem("studio-evaluate-marks") !== "no";
      const names = scores(), top = {};
      for (const name of names) {
        const values = one.answers.map((answer) => answer.scores[name]).filter((value) => value !== undefined);
        if (new Set(values).size > 1) top[name] = run.results.higher[name] ? Math.max(...values) : Math.min(...values);
      }
      const facts = (answer) => [say("page.evaluate.tokens", { count: answer.tokens }), answer.ended ? "" : say("page.evaluate.cut"), answer.marks === null && marked ? say("page.evaluate.too_long") : ""].filter(Boolean).join(" · ");
      const order = (answer) => { const at = candidates().indexOf(answer.candidate); return at < 0 ? 99 : at; };
      const answers = [...one.answers].sort((a, b) => order(a) - order(b)).map((answer) => `<article data-candidate="${safe(answer.candidate)}"><h4>${safe(studio.candidate(answer.candidate))}</h4>
        <div class="words">${answer.answer ? words(marked ? answer.marks : null, answer.answer, missing) : `<span class="nothing">${safe(say("page.evaluate.nothing"))}</span>`}</div>
        <p class="facts">${safe(facts(answer))}</p>
        <dl>${names.filter((name) => answer.scores[name] !== undefined).map((name) => `<div class="${answer.scores[name] === top[name] ? "top" : ""}"><dt>${safe(studio.scoreName(name))}</dt><dd>${safe(studio.figure(answer.scores[name]))}</dd></div>`).join("")}</dl></article>`).join("");
      const neighbour = (which) => `<button data-row="${one[which] ? safe(spelled(...one[which])) : ""}" ${one[which] ? "" : "disabled"}>${which === "next" ? "" : "← "}${safe(say(`page.evaluate.${which}_row`))}${which === "next" ? " →" : ""}</button>`;
      return `<div class="ev-row-head"><button data-row="">${safe(say("page.evaluate.all_rows"))}</button><h3 tabindex="-1">${safe(one.dataset)} · ${one.row}</h3>
          <span class="where">${one.at === null ? "" : safe(say("page.evaluate.place", { at: studio.count(one.at + 1), found: studio.count(one.found) }))}</span><span class="steps">${neighbour("previous")}${neighbour("next")}</span></div>
        <div class="ev-texts"><section><h4>${safe(say("page.evaluate.prompt"))}</h4><div class="words">${safe(one.prompt)}</div></section><section class="reference"><h4>${safe(say("page.evaluate.reference"))}</h4><div class="words">${safe(one.reference)}</div></section></div>
        <div class="ev-legend"><label><input type="checkbox" data-wish="marks" ${marked ? "checked" : ""}> ${safe(say("page.evaluate.mark"))}</label>
          <label><input type="checkbox" data-wish="missing" ${missing ? "checked" : ""} ${marked ? "" : "disabled"}> ${safe(say("page.evaluate.mark_missing"))}</label>
          ${marked ? `<span class="key"><ins>${safe(say("page.evaluate.key_added"))}</ins>${missing ? ` <del>${safe(say("page.evaluate.key_missing"))}</del>` : ""}</span>` : ""}</div>
        <div class="ev-answers">${answers}</div>`;
    };
    box.addEventListener("change", (event) => {
      const wish = event.target.dataset.wish;
      if (!wish) return;
      wishes.setItem(`studio-evaluate-${wish}`, event.target.checked ? "yes" : "no");
      asked = "";
      load().then(() => box.querySelector(`[data-wish="${wish}"]`)?.focus());
    });

    // ---- asking ----
    async function load() {
      if (!run.head || closed) return;
      drawFilter();
      const one = opened(), question = JSON.stringify([query(), one, run.rowsVersion, run.head.state, Boolean(run.results)]);
      if (question === asked || busy) return;
      busy = true;
      let reply;
      try { reply = await ask(one ? "row" : "rows", { ...query(), ...one }); } finally { busy = false; }
      if (closed) return;
      if (JSON.stringify([query(), opened()]) !== JSON.stringify(JSON.parse(question).slice(0, 2))) { await load(); return; }
      asked = question;
      const now = reply.error ? `<p class="ev-hint">${safe(reply.error)}</p><button data-row="">${safe(say("page.evaluate.all_rows"))}</button>` : one ? drawRow(reply) : drawList(reply);
      if (now === html) return;
      const focused = document.activeElement?.closest?.("[data-row], [data-from]"), inside = focused && rows.contains(focused) && focused.dataset.row;
      html = now;
      rows.innerHTML = now;
      if (inside) rows.querySelector(`[data-row="${CSS.escape(inside)}"] button, button[data-row="${CSS.escape(inside)}"]`)?.focus({ preventScroll: true });
    }
    const openRow = (row) => { const before = place.row; page.go({ row: row || null }); load().then(() => (row ? rows.querySelector("h3") : rows.querySelector(`[data-row="${CSS.escape(before || "")}"] button`))?.focus({ preventScroll: true })); };
    rows.addEventListener("click", (event) => {
      const from = event.target.closest("[data-from]"), row = event.target.closest("[data-row]");
      if (from) { page.go({ from: from.dataset.from === "0" ? null : from.dataset.from }, false); return; }
      if (row && !row.disabled && !getSelection().toString()) openRow(row.dataset.row);
    });
    const keys = (event) => {
      if (!place.row || studio.tab() !== "evaluate" || event.target.closest?.("input, select, textarea, [role=tablist]") || event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === "Escape") openRow("");
      const step = { ArrowLeft: 0, ArrowRight: 1 }[event.key], button = step === undefined ? null : rows.querySelectorAll(".steps button")[step];
      if (button && !button.disabled) { event.preventDefault(); openRow(button.dataset.row); }
    };
    document.addEventListener("keydown", keys);
    rows.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], buttons = [...rows.querySelectorAll(".number button")];
      const at = buttons.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      buttons[Math.max(0, Math.min(buttons.length - 1, at + step))].focus();
    });
    return { moved: load, close: () => { closed = true; clearTimeout(timer); document.removeEventListener("keydown", keys); } };
  };
})();
