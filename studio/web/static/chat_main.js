// The conversation: turns, answers side by side as they come, and what can be done with each.
(() => {
  const say = studio.say, safe = studio.escape;
  const POLL = 150;

  studio.chatMain = (host, ask, state, side) => {
    host.innerHTML = `<div class="turns" aria-live="polite"></div><p class="chat-hint"></p>
      <form class="composer"><textarea rows="2" placeholder="${safe(say("page.chat.write"))}" aria-label="${safe(say("page.chat.write"))}"></textarea>
        <div class="row"><button class="send primary" type="submit">${safe(say("page.chat.send"))}</button><button class="stop" type="button" hidden>${safe(say("page.chat.stop"))}</button>
        <span class="more"><button type="button" data-do="prompt">${safe(say("page.chat.raw"))}</button><button type="button" data-do="difference">${safe(say("page.chat.proof"))}</button><button type="button" data-do="keep">${safe(say("page.chat.keep"))}</button><button type="button" data-do="clear">${safe(say("page.chat.clear"))}</button></span></div></form>
      <div class="chat-shown" hidden></div>`;
    const find = (selector) => host.querySelector(selector);
    const box = find("textarea"), api = {};
    let polling = false;

    // Messages as one model sees them up to turn `upto`: its own answers, or those of the first model where it has none.
    const messages = (model, upto = state.turns.length) => [
      ...(state.system.trim() ? [{ role: "system", content: state.system }] : []),
      ...state.turns.slice(0, upto).flatMap((turn) => turn.user !== undefined ? [{ role: "user", content: turn.user }] : answerOf(turn, model)),
    ];
    const answerOf = (turn, model) => {
      const own = turn.answers[model] ?? Object.values(turn.answers)[0];
      return own ? [{ role: "assistant", content: own.text, ...(own.calls?.length ? { tool_calls: own.calls.map((call, place) => ({ id: `call_${place}`, type: "function", function: call })) } : {}) }] : [];
    };
    const running = () => state.turns.flatMap((turn) => Object.values(turn.answers || {})).filter((one) => one.id && !one.end);

    // ---- drawing ----
    // A thought is folded, and its answer stands below it.
    const words = (text, over) => {
      const [, thought, rest] = /^\s*<think>([\s\S]*?)(?:<\/think>([\s\S]*))?$/.exec(text) ?? [null, null, text];
      const folded = thought === null ? "" : `<details class="thought" ${over || rest !== undefined ? "" : "open"}><summary>${safe(say("page.chat.thought"))}</summary><pre>${safe(thought.trim())}</pre></details>`;
      return `${folded}<pre class="words">${safe((rest ?? "").replace(/^\s+/, ""))}</pre>`;
    };
    const calls = (one) => (one.calls || []).map((call) => `<div class="call"><b>${safe(call.name)}</b><code>${safe(call.arguments)}</code></div>`).join("");
    const facts = (one) => [
      one.tokens ? say("page.chat.tokens", { count: one.tokens }) : "",
      one.speed ? say("page.chat.speed", { speed: one.speed.toFixed(1) }) : "",
      one.end === "length" ? say("page.chat.ended_length") : one.end === "cancelled" ? say("page.chat.ended_stopped") : "",
    ].filter(Boolean).join(" · ");
    const drawAnswer = (turn, place, model) => {
      const one = turn.answers[model], several = Object.keys(turn.answers).length > 1;
      const better = several && one.end && turn.better === undefined ? `<button data-better="${place}" data-model="${safe(model)}">${safe(say("page.chat.better"))}</button>` : "";
      return `<article class="answer ${turn.better === model ? "better" : ""}" data-turn="${place}" data-model="${safe(model)}"><header><b>${safe(model)}</b><span class="facts">${safe(facts(one))}</span></header>
        <div class="said-words">${words(one.text, Boolean(one.end))}${calls(one)}</div>${one.error ? `<p class="trouble">${safe(one.error)}</p>` : ""}
        <div class="foot">${one.end ? `<button data-again="${place}" data-model="${safe(model)}">${safe(say("page.chat.again"))}</button><button data-edit="${place}" data-model="${safe(model)}">${safe(say("page.chat.edit"))}</button>${better}` : `<span class="writing">●</span>`}</div></article>`;
    };
    const drawTurn = (turn, place) => turn.user !== undefined
      ? `<article class="user" data-turn="${place}"><pre class="words">${safe(turn.user)}</pre><div class="foot"><button data-edit="${place}">${safe(say("page.chat.edit"))}</button></div></article>`
      : `<div class="answers" style="--columns:${Object.keys(turn.answers).length}">${Object.keys(turn.answers).map((model) => drawAnswer(turn, place, model)).join("")}</div>`;
    api.draw = () => {
      find(".turns").innerHTML = state.turns.map(drawTurn).join("");
      api.know();
    };
    api.know = () => {
      const ready = side.loaded && state.models.length, busy = running().length > 0;
      find(".send").disabled = !ready || busy;
      find(".stop").hidden = !busy;
      find(".chat-hint").textContent = ready ? "" : side.runs.length ? say("page.chat.loading") : say("page.chat.none_long");
    };
    // Only the answers that moved are drawn again; the page follows them when it stands at its end.
    const redraw = (place, model) => {
      const old = host.querySelector(`.answer[data-turn="${place}"][data-model="${CSS.escape(model)}"]`);
      const open = old?.querySelector(".thought")?.open;
      if (!old) return;
      old.outerHTML = drawAnswer(state.turns[place], place, model);
      const thought = host.querySelector(`.answer[data-turn="${place}"][data-model="${CSS.escape(model)}"] .thought`);
      if (thought && open !== undefined) thought.open = open;
    };

    // ---- asking ----
    const settings = () => Object.fromEntries(Object.entries(state.settings).filter(([, value]) => value !== null));
    const begin = async (place, models) => {
      const tools = side.tools();
      if (tools instanceof Error) { studio.toast(say("page.chat.tools_not_json", { reason: tools.message }), true); return; }
      const bodies = models.map((model) => ({ model, messages: messages(model, place), ...settings(), ...(tools ? { tools } : {}) }));
      const reply = await ask("ask", { run: state.run, bodies });
      for (const model of models) {
        state.turns[place].answers[model] = reply.error ? { text: "", end: "error", error: reply.error } : { id: reply.answers[model], text: "", end: "" };
      }
      state.save();
      api.draw();
      poll();
    };
    const poll = async () => {
      if (polling) return;
      polling = true;
      try {
        for (let open = running(); open.length; open = running()) {
          const reply = await ask("poll", { answers: Object.fromEntries(open.map((one) => [one.id, [...one.text].length])) });
          const low = innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
          for (const [place, turn] of state.turns.entries()) for (const [model, one] of Object.entries(turn.answers || {})) {
            const news = reply.answers?.[one.id];
            if (!news || one.end) continue;
            Object.assign(one, news, { text: one.text + news.text });
            redraw(place, model);
          }
          if (low) scrollTo({ top: document.documentElement.scrollHeight });
          api.know();
          await new Promise((resolve) => setTimeout(resolve, reply.error ? 1000 : POLL));
        }
      } finally { polling = false; state.save(); api.know(); }
    };
    const send = () => {
      const text = box.value.trim();
      if (!text || find(".send").disabled) return;
      box.value = "";
      state.turns.push({ user: text }, { answers: {} });
      begin(state.turns.length - 1, state.models);
    };
    find("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
    });
    find(".stop").addEventListener("click", () => ask("stop", { answers: running().map((one) => one.id) }));

    // ---- what can be done with a turn ----
    const edit = (place, model) => {
      const turn = state.turns[place], article = host.querySelector(model === undefined ? `.user[data-turn="${place}"]` : `.answer[data-turn="${place}"][data-model="${CSS.escape(model)}"]`);
      const old = model === undefined ? turn.user : turn.answers[model].text;
      article.innerHTML = `<textarea class="editing" rows="${Math.min(14, old.split("\n").length + 1)}"></textarea><div class="foot"><button class="primary" data-done>${safe(say(model === undefined ? "page.chat.send" : "page.chat.put"))}</button><button data-drop>${safe(say("page.chat.cancel"))}</button></div>`;
      const area = article.querySelector("textarea");
      area.value = old;
      area.focus();
      article.querySelector("[data-drop]").addEventListener("click", api.draw);
      article.querySelector("[data-done]").addEventListener("click", () => {
        if (model !== undefined) { turn.answers[model].text = area.value; turn.answers[model].calls = []; state.save(); api.draw(); return; }
        state.turns.length = place;  // what came behind was an answer to the old words
        state.turns.push({ user: area.value }, { answers: {} });
        begin(place + 1, state.models);
      });
    };
    find(".turns").addEventListener("click", (event) => {
      const { again, edit: which, better, model } = event.target.dataset;
      if (again !== undefined && side.loaded?.models.includes(model)) { state.turns.length = Number(again) + 1; begin(Number(again), [model]); }
      if (which !== undefined) edit(Number(which), model);
      if (better !== undefined) keepBetter(Number(better), model);
    });

    // ---- rows to keep ----
    const name = async (title) => {
      const shown = find(".chat-shown");
      shown.hidden = false;
      shown.innerHTML = `<form class="row"><label>${safe(title)} <input value="${safe(localStorage.getItem("studio-chat-dataset") || "from-chat")}"></label><button class="primary">${safe(say("page.chat.keep_now"))}</button><button type="button" class="no">${safe(say("page.chat.cancel"))}</button></form>`;
      shown.querySelector("input").focus();
      return new Promise((resolve) => {
        shown.querySelector(".no").addEventListener("click", () => { shown.hidden = true; resolve(null); });
        shown.querySelector("form").addEventListener("submit", (event) => {
          event.preventDefault();
          shown.hidden = true;
          const given = shown.querySelector("input").value.trim();
          localStorage.setItem("studio-chat-dataset", given);
          resolve(given);
        });
      });
    };
    const keep = async (body, title) => {
      const dataset = await name(title);
      if (!dataset) return false;
      const reply = await ask("keep", { dataset, ...body });
      studio.toast(reply.error || reply.message, Boolean(reply.error));
      return !reply.error;
    };
    const keepBetter = async (place, model) => {
      const turn = state.turns[place], other = Object.keys(turn.answers).find((one) => one !== model && turn.answers[one].text !== turn.answers[model].text);
      if (!other) { studio.toast(say("page.chat.same"), true); return; }
      const body = { messages: messages(model, place), chosen: turn.answers[model].text, rejected: turn.answers[other].text };
      if (await keep(body, say("page.chat.keep_better"))) { turn.better = model; state.save(); api.draw(); }
    };

    // ---- what the model sees, and that an adapter is at work ----
    const show = (html) => { const shown = find(".chat-shown"); shown.hidden = false; shown.innerHTML = `${html}<button class="no">${safe(say("page.chat.close"))}</button>`; shown.querySelector(".no").addEventListener("click", () => { shown.hidden = true; }); };
    const question = () => ({ messages: [...messages(state.models[0]), ...(box.value.trim() ? [{ role: "user", content: box.value.trim() }] : [])], ...(side.tools() ? { tools: side.tools() } : {}) });
    const acts = {
      clear: () => { state.turns = []; state.save(); find(".chat-shown").hidden = true; api.draw(); },
      keep: () => keep({ messages: messages(state.models[0]) }, say("page.chat.keep_title")),
      prompt: async () => {
        const reply = await ask("prompt", { run: state.run, body: question() });
        if (reply.error) { studio.toast(reply.error, true); return; }
        show(`<h3>${safe(say("page.chat.raw_title", { count: reply.answer.tokens.length }))}</h3><p class="tokens">${reply.answer.tokens.map(([id, text]) => `<span title="${id}">${safe(text).replace(/\n/g, "↵<br>")}</span>`).join("")}</p>`);
      },
      difference: async () => {
        const reply = await ask("difference", { run: state.run, body: question() });
        if (reply.error) { studio.toast(reply.error, true); return; }
        const rows = Object.entries(reply.answer).map(([model, one], place) => `<tr><td>${safe(model)}</td><td>${safe(JSON.stringify(one.next))}</td><td>${place ? one.divergence.toPrecision(3) : "–"}</td><td>${safe(place ? say(one.largest > 1e-6 ? "page.chat.active" : "page.chat.inactive") : say("page.chat.base"))}</td></tr>`).join("");
        show(`<h3>${safe(say("page.chat.proof_title"))}</h3><table><tr><th>${safe(say("page.chat.model"))}</th><th>${safe(say("page.chat.next"))}</th><th>${safe(say("page.chat.divergence"))}</th><th></th></tr>${rows}</table><p>${safe(say("page.chat.proof_why"))}</p>`);
      },
    };
    find(".more").addEventListener("click", async (event) => {
      const act = event.target.dataset.do;
      if (!act) return;
      if (!side.loaded) await side.tick();  // a page that was just opened may not know yet what is loaded
      if ((act === "prompt" || act === "difference") && (!side.loaded || !question().messages.length)) { studio.toast(say(side.loaded ? "page.chat.empty" : "page.chat.none_long"), true); return; }
      if (act === "keep" && !state.turns.some((turn) => turn.answers)) { studio.toast(say("page.chat.empty"), true); return; }
      acts[act]();
    });

    api.draw();
    poll();
    return api;
  };
})();
