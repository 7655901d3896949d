// The report on a dataset: what is wrong with it and where, the way to those rows, and out with them as one step.
(() => {
  const say = studio.say, safe = studio.escape;

  studio.dataPanels.checks = {
    title_key: "page.data.checks.title",
    draw: (element, context) => {
      element.innerHTML = `<form class="ask"><div class="fields-grid">
          <label>${safe(say("page.data.checks.cutoff"))}<input name="cutoff" inputmode="numeric" placeholder="${safe(say("page.data.checks.cutoff_none"))}"></label>
          <label class="inline near"><input type="checkbox" name="near" checked> ${safe(say("page.data.checks.near"))}</label></div>
          <div class="against"><span class="muted">${safe(say("page.data.checks.against"))}</span> <span class="chips"></span></div>
          <div class="tools-row"><button class="button strong">${safe(say("page.data.checks.start"))}</button><code class="command"></code></div></form>
        <div class="working" hidden><span class="how-far number" role="status"></span><div class="progress unknown"><div></div></div><button class="button small">${safe(say("page.data.checks.stop"))}</button></div>
        <p class="note-box bad" role="alert" hidden></p><div class="report"></div>`;
      const find = (selector) => element.querySelector(selector);
      const ask = find(".ask"), report = find(".report");
      let timer = null, shown = null;

      const question = () => ({
        cutoff: ask.cutoff.value.trim() ? Number(ask.cutoff.value.replace(/\D/g, "")) || null : null,
        near: ask.near.checked,
        against: [...ask.querySelectorAll("[name=against]:checked")].map((box) => box.value),
      });
      const trouble = (text) => { find(".note-box").hidden = !text; find(".note-box").textContent = text || ""; };
      const take = (reply) => {
        clearTimeout(timer);
        if (!element.isConnected) return;
        trouble(reply.error || reply.failed);
        if (reply.error) return;
        find(".command").textContent = reply.command;
        const working = find(".working"), worked = !working.hidden && !reply.working;
        working.hidden = !reply.working;
        ask.querySelector("button").disabled = reply.working;
        if (reply.working) {
          const all = context.facts?.rows, share = all ? reply.rows / all : 0;
          find(".how-far").textContent = say("page.data.checks.working", { rows: studio.count(reply.rows), time: studio.time(reply.seconds) });
          find(".progress").classList.toggle("unknown", !reply.rows || !all);
          find(".progress div").style.width = `${Math.min(100, share * 100).toFixed(1)}%`;
          timer = setTimeout(async () => take(await context.ask("checks.state", reply.question)), 500);
        }
        ask.querySelector("button").textContent = say(reply.report ? "page.data.checks.again" : "page.data.checks.start");
        if (reply.report) { shown = reply; draw(reply.report, reply.question); if (worked) context.refresh(); }
        else if (!reply.working) { shown = null; report.innerHTML = `<p class="muted">${safe(say("page.data.checks.none"))}</p>`; }
        else if (!shown) report.innerHTML = "";
      };

      const shares = (counts, key) => {
        const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
        return Object.entries(counts).map(([name, count]) => `<span class="share"><b>${safe(say(key + name))}</b> ${count === all ? "100" : ((count / all) * 100).toFixed(count / all < 0.1 ? 1 : 0)} %</span>`).join(" ");
      };
      const example = (finding, one) => `<li><button class="link" data-place="${one.row ? one.place : ""}" ${one.row ? "" : "disabled"}>${safe(one.row ? say("page.data.checks.at", { row: studio.count(one.row) }) + (one.line && one.line !== one.row ? `, ${say("page.data.rows.line", { line: one.line })}` : "") : one.source || "")}</button> <span>${safe(one.text)}</span></li>`;
      const draw = (found, asked) => {
        const lost = found.rows - found.usable;
        report.innerHTML = `<div class="verdict-line ${lost ? "bad" : found.findings.length ? "warn" : "good"}"><b>${lost ? "✕" : found.findings.length ? "!" : "✓"} ${safe(say(lost ? "page.data.checks.unusable" : found.findings.length ? "page.data.checks.usable" : "page.data.checks.clean", { rows: studio.count(found.rows), lost: studio.count(lost) }))}</b>
            <span class="muted number">${safe(say("page.data.checks.sizes", { tokens: studio.short(found.tokens), longest: studio.count(found.longest) }))}</span></div>
          <p class="shares muted">${shares(found.kinds, "page.data.kinds.")} ${Object.keys(found.scripts).length ? `<span class="gap"></span>${shares(found.scripts, "page.data.scripts.")}` : ""}</p>
          ${found.broken_off ? `<p class="note-box bad">${safe(say("page.data.checks.broken_off"))} ${safe(found.broken_off)}</p>` : ""}
          <div class="findings">${found.findings.map((one) => `<details class="${one.broken ? "broken" : ""}" data-kind="${one.kind}" ${found.findings.length < 4 ? "open" : ""}><summary><span class="sign" aria-hidden="true">${one.broken ? "✕" : "!"}</span><b>${safe(say(`page.data.findings.${one.kind}`))}</b><span class="count number">${studio.count(one.count)}</span>
              <span class="push"></span>${one.kind === "file" ? "" : `<button class="button small" data-act="show">${safe(say("page.data.checks.show"))}</button><button class="button small danger" data-act="remove">${safe(say("page.data.checks.remove"))}</button>`}</summary>
              <p class="muted">${safe(say(`page.data.advice.${one.kind}`))}</p><ul>${one.examples.map((row) => example(one, row)).join("")}</ul>
              ${one.count > one.examples.length ? `<p class="muted">${safe(say("page.data.checks.more", { count: studio.count(one.count - one.examples.length) }))}</p>` : ""}</details>`).join("")}</div>
          ${lost ? `<div class="tools-row"><button class="button" data-act="all">${safe(say("page.data.checks.remove_all", { lost: studio.count(lost) }))}</button></div>` : ""}`;
        report.dataset.question = JSON.stringify(asked);
      };
      report.addEventListener("click", async (event) => {
        const button = event.target.closest("button"), kind = event.target.closest("[data-kind]")?.dataset.kind;
        if (!button || !shown) return;
        const asked = shown.question;
        if (button.dataset.place) { context.open(Number(button.dataset.place)); return; }
        if (!button.dataset.act) return;
        event.preventDefault();  // a button in a summary must not fold it
        if (button.dataset.act === "show") { context.open(0, { finding: { finding: kind, question: asked } }); return; }
        const kinds = button.dataset.act === "all" ? shown.report.findings.filter((one) => one.broken).map((one) => one.kind) : [kind];
        const reply = await context.ask("checks.remove", { ...asked, kinds });
        studio.toast(reply.error || reply.message, Boolean(reply.error));
        if (!reply.error) { context.refresh(); context.choose(context.name, "rows"); }
      });
      ask.addEventListener("submit", async (event) => { event.preventDefault(); take(await context.ask("checks.start", { ...question(), again: Boolean(shown) && JSON.stringify(question().against.sort()) === JSON.stringify(shown.question.against) && question().cutoff === shown.question.cutoff && question().near === shown.question.near })); });
      ask.addEventListener("change", async () => take(await context.ask("checks.state", question())));
      find(".working button").addEventListener("click", async () => take(await context.ask("checks.stop", question())));
      context.ask("checks.open").then((reply) => {
        if (!element.isConnected) return;
        if (reply.error) { trouble(reply.error); return; }
        find(".chips").innerHTML = reply.others.map((name) => `<label class="chip"><input type="checkbox" name="against" value="${safe(name)}" ${reply.question.against.includes(name) ? "checked" : ""}> ${safe(name)}</label>`).join("") || safe(say("page.data.checks.no_others"));
        ask.cutoff.value = reply.question.cutoff ?? "";
        ask.near.checked = reply.question.near;
        take(reply);
      });
      return () => clearTimeout(timer);
    },
  };
})();
