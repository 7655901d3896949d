// One export: what it is doing, how it ended, where it lies, how it compares with the tuned model, and how to use it.
(() => {
  const say = studio.say, safe = studio.escape;
  const SIGN = { good: "✓", lossy: "!", bad: "✕", "not compared": "–" };

  studio.exportOne = (host, page) => {
    const api = { name: null, head: null };
    let clock = 0, shown = "";
    const find = (selector) => host.querySelector(selector);

    api.knows = () => (api.name ? { head: api.head?.version } : {});
    api.open = (name) => {
      if (name === api.name) return;
      Object.assign(api, { name, head: null });
      shown = "";
      host.innerHTML = name ? `<div class="ex-head"><h2 tabindex="-1"></h2><span class="badge"></span><span class="ex-about"></span></div>
        <p class="phase" role="status" hidden></p><div class="ex-progress" role="progressbar" aria-valuemin="0" hidden><div></div></div>
        <div class="ex-actions"></div><div class="ex-dialog" hidden></div><div class="ex-trouble" hidden></div><ul class="ex-notices"></ul><div class="ex-result"></div>` : "";
      if (name) find("h2").textContent = name;
    };
    api.set = (reply) => {
      if (reply.missing) { host.innerHTML = `<p class="ex-about">${safe(reply.missing)}</p>`; api.name = null; return; }
      if (reply.clock) clock = reply.clock - Date.now() / 1000;
      if (reply.head) { api.head = reply.head; drawHead(reply.head); drawResult(reply.head.result); }
      if (api.head) drawProgress(api.head);
    };

    const words = (action) => say({ stop: "page.export.cancel", resume: "page.export.again" }[action] ?? `page.runs.actions.${action}`);
    const drawHead = (run) => {
      find(".badge").innerHTML = studio.stateBadge(run);
      find(".ex-about").textContent = run.format;
      const trouble = find(".ex-trouble");
      trouble.hidden = !run.cause;
      trouble.className = `ex-trouble ${run.state}`;
      trouble.innerHTML = run.cause ? `<h3>${safe(say("page.runs.cause"))}</h3><p>${safe(run.cause)}</p>${run.advice ? `<h3>${safe(say("page.runs.advice"))}</h3><p>${safe(run.advice)}</p>` : ""}` : "";
      find(".ex-notices").innerHTML = run.notices.map((text) => `<li>${safe(text)}</li>`).join("");
      const buttons = (own) => own.map((action) => `<button data-do="${action}" class="${action === "remove" || action === "kill" ? "danger" : ""}">${safe(words(action))}</button>`).join("");
      const html = buttons(run.actions.filter((action) => action !== "remove")) + (run.result?.uses.some((use) => use.code === "studio") ? `<button data-chat>${safe(say("page.runs.actions.chat"))}</button>` : "") + `<button data-log>${safe(say("page.export.log"))}</button>` + buttons(run.actions.filter((action) => action === "remove"));
      const box = find(".ex-actions");
      if (box.dataset.html !== html) { box.dataset.html = html; box.innerHTML = html; }
    };
    const drawProgress = (run) => {
      const bar = find(".ex-progress"), counted = run.total > 0 && run.step < run.total, share = counted ? run.step / run.total : 0;
      bar.hidden = find(".phase").hidden = !run.active && run.state !== "queued";
      bar.classList.toggle("unknown", run.active && !counted);
      bar.setAttribute("aria-valuemax", run.total || 1);
      bar.setAttribute("aria-valuenow", run.step);
      bar.firstElementChild.style.width = `${(share * 100).toFixed(2)}%`;
      const silent = run.active && run.updated ? Date.now() / 1000 + clock - run.updated : 0;
      const parts = [run.active ? studio.exportPhase(run.phase) : "", run.active ? run.message : "", run.active && counted ? `${run.step}/${run.total}` : ""];
      if (run.active && run.eta_seconds !== null) parts.push(say("page.runs.left", { time: studio.time(run.eta_seconds) }));
      if (run.state === "queued" && !run.held) parts.push(say("page.runs.position", { position: run.position }));
      if (silent > 10) parts.push(say("page.runs.waiting", { time: studio.time(silent), phase: studio.exportPhase(run.phase) }));
      const text = parts.filter(Boolean).join(" · ");
      if (find(".phase").textContent !== text) find(".phase").textContent = text;
    };

    // ---- the result ----
    const number = (value, digits = 4) => (value === null || value === undefined ? say("page.export.not_measured") : Number(value.toPrecision(digits)).toLocaleString(studio.language));
    const compared = (one) => {
      if (one.same_tokens === undefined) return "";
      const change = one.perplexity_before && one.perplexity_after ? ` (${(100 * (one.perplexity_after / one.perplexity_before - 1)).toFixed(1).replace("-", "−").replace(/^(?=\d)/, "+")}\u00a0%)` : "";
      const rows = [
        ["perplexity", number(one.perplexity_before), number(one.perplexity_after) + change],
        ["same_tokens", "", `${(100 * one.same_tokens).toFixed(1)} %`],
        ["same_answers", "", say("page.export.of", { count: one.same_answers, all: one.answers })],
        ["largest", "", number(one.largest_difference, 3)],
        ["speed", number(one.tokens_per_second_before, 3), number(one.tokens_per_second_after, 3)],
      ];
      return `<section><h3>${safe(say("page.export.compare.title"))}</h3><table><thead><tr><td></td><th scope="col">${safe(say("page.export.compare.tuned"))}</th><th scope="col">${safe(say("page.export.compare.export"))}</th></tr></thead><tbody>${rows.map(([key, before, after]) => `<tr><th scope="row">${safe(say(`page.export.compare.${key}`))}</th><td>${safe(before)}</td><td>${safe(after)}</td></tr>`).join("")}</tbody></table></section>`;
    };
    const text = (words) => `<div class="shown-text"><pre>${safe(words)}</pre><button class="copy" type="button">${safe(say("page.form.copy"))}</button></div>`;
    const drawResult = (result) => {
      const html = result ? drawn(result) : "";
      if (html !== shown) { shown = html; find(".ex-result").innerHTML = html; }
    };
    const drawn = (result) => {
      const facts = [["lies_in", result.shown_folder], ["size", studio.bytes(result.size)], ["peak", result.peak_memory ? studio.bytes(result.peak_memory) : ""], ["runtime", result.runtime]].filter(([, value]) => value);
      const why = [say(`page.export.verdict_says.${result.verdict}`), result.reason, result.not_compared].filter(Boolean).join(" ");
      const absent = result.stands ? "" : `<p class="ex-gone">${safe(say(api.head.state === "finished" ? "page.export.gone" : "page.export.not_placed"))}</p>`;
      return `<div class="ex-verdict ${safe(result.verdict.replace(" ", "-"))}"><i aria-hidden="true">${SIGN[result.verdict] ?? "–"}</i><div><b>${safe(say(`page.export.verdicts.${result.verdict}`))}</b><p>${safe(why)}</p></div></div>${absent}
        <dl>${facts.map(([key, value]) => `<div><dt>${safe(say(`page.export.${key}`))}</dt><dd title="${safe(key === "lies_in" ? result.folder : "")}">${safe(value)}</dd></div>`).join("")}</dl>
        <div class="ex-columns">${compared(result.comparison)}
        ${result.files.length ? `<section><h3>${safe(say("page.export.files"))}</h3><table class="ex-files"><tbody>${result.files.map(([name, size]) => `<tr><td>${safe(name)}</td><td>${safe(studio.bytes(size))}</td></tr>`).join("")}</tbody></table></section>` : ""}</div>
        ${result.uses.length ? `<section class="ex-uses"><h3>${safe(say("page.export.uses.title"))}</h3>${result.uses.map((use) => `<h4>${safe(say(`page.export.uses.${use.code}`))}</h4>${text(use.text)}`).join("")}</section>` : ""}`;
    };

    // ---- its buttons ----
    const question = (words, yes) => {
      const box = find(".ex-dialog");
      box.hidden = false;
      box.innerHTML = `<p>${safe(words)}</p><div class="row"><button class="yes">${safe(yes)}</button><button class="no">${safe(say("page.form.exists_cancel"))}</button></div>`;
      box.querySelector(".no").addEventListener("click", () => { box.hidden = true; });
      box.querySelector(".yes").focus();
      return new Promise((resolve) => box.querySelector(".yes").addEventListener("click", () => { box.hidden = true; resolve(); }));
    };
    const asks = { remove: "page.export.confirm_remove", kill: "page.export.confirm_kill" };
    const act = async (action) => {
      const name = api.name;
      if (asks[action]) await question(say(asks[action], { name, size: studio.bytes(api.head.run_size) }), words(action));
      const reply = await page.ask("act", { name, do: action });
      studio.toast(reply.error || reply.message, Boolean(reply.error));
      if (reply.gone && !reply.error) page.fresh(); else await page.tick();
    };
    host.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button || !api.name) return;
      if (button.dataset.do) act(button.dataset.do);
      if ("chat" in button.dataset) studio.openChat(api.head.result.shown_folder);
      if ("log" in button.dataset) { studio.address({ tab: "runs", run: api.name, view: "log" }, true); studio.openTab("runs", false); document.dispatchEvent(new CustomEvent("studio-run", { detail: api.name })); }
    });
    return api;
  };
})();
