// The Template view: turns that are typed, as the chosen model sees them, and what is odd about the template.
(() => {
  const say = studio.say, safe = studio.escape;
  const word = (key, values) => say(`page.data.tokens.${key}`, values);
  const ROLES = ["system", "user", "assistant", "tool"];
  const SIGN = { fault: "✕", hint: "!", note: "·", fine: "✓" };
  const shownMarks = (text) => safe(text).replace(/\n/g, "<i class=\"space\">⏎</i>\n");
  const kept = { turns: [{ role: "user", content: "" }], tools: "", prompt: true };

  studio.dataPanels.template = {
    title_key: "page.data.tokens.template_title",
    standalone: true,
    draw: (element, context) => {
      element.innerHTML = `<h2 class="template-title">${safe(word("template_title"))}</h2><div class="token-choice"></div><div class="template-grid">
        <section><div class="token-head"><h3>${safe(word("typed_title"))}</h3></div><div class="template-turns"></div>
          <p><button type="button" class="button small add-turn">${safe(word("add_turn"))}</button></p>
          <details class="tools-box"><summary>${safe(word("tools"))}</summary><textarea rows="4" spellcheck="false" placeholder='[{"type": "function", "function": {"name": "…"}}]'></textarea></details>
          <label class="ask-prompt"><input type="checkbox"> ${safe(word("ask_prompt"))}</label></section>
        <section><div class="token-head"><h3>${safe(word("seen_title"))}</h3><span class="muted number seen-count"></span></div><p class="bad" role="alert" hidden></p><div class="template-seen"></div></section>
        <section class="template-findings"></section><section class="template-marks"></section></div>`;
      const find = (selector) => element.querySelector(selector);
      if (!kept.turns[0].content) kept.turns[0].content = word("first_question");
      const box = studio.tokenBox(find(".template-seen"));
      const settings = studio.tokenSettings(find(".token-choice"), context, "template", () => { render(); check(); });
      let asked = 0, timer = 0;

      const drawTurns = () => {
        find(".template-turns").innerHTML = kept.turns.map((turn, at) => `<div class="template-turn"><select data-at="${at}" aria-label="${safe(word("role"))}">${ROLES.map((role) => `<option value="${role}" ${role === turn.role ? "selected" : ""}>${safe(word(`roles.${role}`))}</option>`).join("")}</select>
          <textarea data-at="${at}" rows="2" aria-label="${safe(word("content"))}">${safe(turn.content)}</textarea><button type="button" class="button small" data-drop="${at}" aria-label="${safe(word("drop_turn"))}" ${kept.turns.length < 2 ? "disabled" : ""}>×</button></div>`).join("");
        const last = kept.turns[kept.turns.length - 1].role;
        find(".ask-prompt input").checked = kept.prompt && last !== "assistant";
        find(".ask-prompt input").disabled = last === "assistant";
      };
      const render = async () => {
        const mine = ++asked, prompt = find(".ask-prompt input").checked;
        const reply = await context.ask("tokens.render", studio.tokenRequest({ messages: kept.turns, tools: kept.tools.trim(), prompt }));
        if (mine !== asked) return;
        const problem = reply.error || reply.problem;
        find(".bad").hidden = !problem;
        find(".bad").textContent = problem || "";
        find(".template-seen").hidden = Boolean(problem);
        find(".seen-count").textContent = problem ? "" : word("tokens_of_row", { count: reply.total });
        if (!problem) box.set([{ ...reply, title: "" }], Infinity, reply.trained !== undefined);
      };
      const check = async () => {
        const reply = await context.ask("tokens.check", studio.tokenRequest());
        if (reply.error) { find(".template-findings").innerHTML = `<p class="bad">${safe(reply.error)}</p>`; find(".template-marks").innerHTML = ""; return; }
        const order = { fault: 0, hint: 1, note: 2, fine: 3 };
        const found = [...reply.findings].sort((one, other) => order[one.level] - order[other.level]);
        find(".template-findings").innerHTML = `<div class="token-head"><h3>${safe(word("findings_title"))}</h3></div><ul class="notices">${found.map((one) => `<li class="${["note", "fine"].includes(one.level) ? "to-do" : one.level}"><b aria-hidden="true">${SIGN[one.level]}</b> ${safe(one.text)}</li>`).join("") || `<li class="to-do"><b aria-hidden="true">✓</b> ${safe(word("nothing_found"))}</li>`}</ul>
          ${found.filter((one) => one.diff).map((one) => `<details><summary>${safe(word("show_difference"))}</summary><pre class="diff">${one.diff.map(([sign, line]) => `<span class="${sign === "+" ? "plus" : sign === "-" ? "minus" : ""}">${sign} ${shownMarks(line).replace(/\n$/, "")}</span>`).join("\n")}</pre></details>`).join("")}`;
        find(".template-marks").innerHTML = `<div class="token-head"><h3>${safe(word("marks_title"))}</h3></div>
          <table><tbody>${reply.tokens.map((one) => `<tr><th>${safe(one.name)}</th><td><code>${safe(one.text)}</code></td><td class="number muted">${one.id}</td></tr>`).join("")}
          ${reply.stops.length ? `<tr><th>${safe(word("stops"))}</th><td class="number" colspan="2">${reply.stops.join(", ")}</td></tr>` : ""}</tbody></table>
          <table><tbody>${reply.marks.map((mark) => `<tr><th>${safe(word(`before.${mark.role}`))}</th><td><code>${shownMarks(mark.text) || "–"}</code></td></tr>`).join("")}</tbody></table>
          <details><summary>${safe(word("template_source"))}</summary><pre>${safe(reply.source)}</pre></details>`;
      };
      const soon = () => { clearTimeout(timer); timer = setTimeout(render, 250); };

      find(".template-turns").addEventListener("input", (event) => {
        const turn = kept.turns[event.target.dataset.at];
        if (!turn) return;
        if (event.target.tagName === "TEXTAREA") turn.content = event.target.value;
        else { turn.role = event.target.value; if (at(event) === kept.turns.length - 1) drawTurns(); }
        soon();
      });
      const at = (event) => Number(event.target.dataset.at);
      find(".template-turns").addEventListener("click", (event) => {
        const drop = event.target.dataset.drop;
        if (drop === undefined || kept.turns.length < 2) return;
        kept.turns.splice(Number(drop), 1);
        drawTurns();
        soon();
      });
      find(".add-turn").addEventListener("click", () => {
        const last = kept.turns[kept.turns.length - 1].role;
        kept.turns.push({ role: last === "user" ? "assistant" : "user", content: "" });
        drawTurns();
        element.querySelector(".template-turn:last-child textarea").focus();
        soon();
      });
      find(".tools-box textarea").value = kept.tools;
      find(".tools-box textarea").addEventListener("input", (event) => { kept.tools = event.target.value; soon(); });
      find(".ask-prompt input").addEventListener("change", (event) => { kept.prompt = event.target.checked; render(); });
      drawTurns();
      settings.draw().then((reply) => { if (!reply.error) { render(); check(); } });
      return () => clearTimeout(timer);
    },
  };
})();
