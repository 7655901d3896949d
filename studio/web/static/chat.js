// The Chat tab: which models are loaded on the left, the conversation with one or several of them side by side on the right.
// The conversation lives in this browser (localStorage); what the models write meanwhile is asked for piece by piece.
(() => {
  const say = studio.say, safe = studio.escape;
  const KEPT = "studio-chat";

  studio.drawChat = (element, server) => {
    const ask = async (action, body = {}) => await server.chat({ language: studio.language, action, ...body }) ?? { error: say("page.header.offline") };
    const state = studio.chatState(KEPT);
    const side = studio.chatSide(element.querySelector(".chat-side"), ask, state, () => main.draw());
    const main = studio.chatMain(element.querySelector(".chat-main"), ask, state, side);
    const begin = () => {
      const subject = studio.parameter("load");
      if (studio.tab() !== "chat" || !subject) return;
      studio.address({ load: null });
      side.openLoad(subject);
    };
    studio.repeat(1500, async () => { if (studio.tab() === "chat") { await side.tick(); main.know(); } });
    document.addEventListener("studio-tab", async (event) => { if (event.detail === "chat") { begin(); await side.tick(); main.know(); } });
    begin();
  };

  // From elsewhere: a run or an export, ready to be loaded. The tab may not be drawn yet, so it goes by the address.
  studio.openChat = (subject) => {
    studio.address({ tab: "chat", load: subject }, true);
    studio.openTab("chat", false);
  };

  // What is kept over a reload: the run, the chosen models, settings and turns.
  studio.chatState = (key) => {
    const fresh = { run: null, models: [], turns: [], system: "", tools: "", settings: { temperature: 0.7, top_p: 0.95, top_k: 0, repetition_penalty: 1, max_tokens: 512, seed: 42 } };
    let kept = {};
    try { kept = JSON.parse(localStorage.getItem(key)) || {}; } catch (error) { console.warn(error); }
    const state = { ...fresh, ...kept, settings: { ...fresh.settings, ...kept.settings } };
    state.save = () => localStorage.setItem(key, JSON.stringify(state));
    return state;
  };

  // ---- left: models, loading, settings ----
  studio.chatSide = (host, ask, state, changed) => {
    host.innerHTML = `<section class="card chat-models"><h2>${safe(say("page.chat.models"))}</h2><ul class="servers"></ul><p class="chat-failed" hidden></p>
        <button class="open-load">${safe(say("page.chat.load"))}</button><div class="load" hidden></div></section>
      <section class="card chat-settings"><h2>${safe(say("page.chat.settings"))}</h2>
        <label class="wide">${safe(say("page.chat.system"))}<textarea data-name="system" rows="2"></textarea></label>
        <div class="numbers">${Object.keys(state.settings).map((name) => `<label>${safe(say(`page.chat.set.${name}`))}<input data-set="${name}" inputmode="decimal" title="${safe(say(`page.chat.why.${name}`))}"></label>`).join("")}</div>
        <details><summary>${safe(say("page.chat.tools"))}</summary><textarea data-name="tools" rows="5" spellcheck="false" placeholder='[{"type": "function", "function": {"name": "weather", "parameters": {…}}}]'></textarea><p class="said fault" hidden></p></details></section>`;
    const find = (selector) => host.querySelector(selector);
    const api = { runs: [], loaded: null };
    let drawn = "", form = null, timer = null;

    for (const box of host.querySelectorAll("[data-name]")) {
      box.value = state[box.dataset.name];
      box.addEventListener("input", () => { state[box.dataset.name] = box.value; state.save(); toolsFault(); });
    }
    for (const box of host.querySelectorAll("[data-set]")) {
      box.value = state.settings[box.dataset.set] ?? "";
      box.addEventListener("input", () => {
        const value = box.value.trim() === "" ? null : Number(box.value.replace(",", "."));
        box.classList.toggle("faulty", Number.isNaN(value));
        if (!Number.isNaN(value)) { state.settings[box.dataset.set] = value; state.save(); }
      });
    }
    api.tools = () => { try { return state.tools.trim() ? JSON.parse(state.tools) : null; } catch (error) { return error; } };
    const toolsFault = () => {
      const found = api.tools(), box = find(".chat-settings .said");
      box.hidden = !(found instanceof Error);
      box.textContent = found instanceof Error ? say("page.chat.tools_not_json", { reason: found.message }) : "";
    };
    toolsFault();

    const memory = (run) => run.memory ? say("page.chat.memory", { memory: studio.bytes(run.memory) }) : "";
    const drawRun = (run) => `<li class="${run.name === state.run ? "chosen" : ""}"><div class="line"><b>${safe(run.name)}</b>
        <span class="state ${safe(run.state)}">${safe(say(`page.runs.states.${run.state}`))}</span></div>
      <p>${safe([run.phase !== "serving" ? run.message || run.phase : "", run.devices.join(", "), memory(run)].filter(Boolean).join(" · "))}</p>
      ${run.models.map((name) => `<label class="model"><input type="checkbox" data-run="${safe(run.name)}" value="${safe(name)}" ${run.name === state.run && state.models.includes(name) ? "checked" : ""}>${safe(name)}</label>`).join("")}
      ${run.address ? `<code class="address" title="${safe(say("page.chat.address"))}">${safe(run.address)}</code>` : ""}
      <div class="row"><button data-unload="${safe(run.name)}">${safe(say("page.chat.unload"))}</button><button data-open="${safe(run.name)}">${safe(say("page.chat.open_run"))}</button></div></li>`;

    api.tick = async () => {
      const reply = await studio.within(ask("state"));
      if (!reply || reply.error) return;
      api.runs = reply.runs;
      const loaded = reply.runs.filter((run) => run.models.length);
      if (!loaded.some((run) => run.name === state.run)) { state.run = loaded[0]?.name ?? null; state.models = []; }
      api.loaded = loaded.find((run) => run.name === state.run) ?? null;
      state.models = state.models.filter((name) => api.loaded?.models.includes(name));
      if (api.loaded && !state.models.length) state.models = api.loaded.models.slice(0, 3);
      state.save();
      const html = reply.runs.map(drawRun).join("") || `<li class="none">${safe(say("page.chat.none"))}</li>`;
      if (html !== drawn) { drawn = html; find(".servers").innerHTML = html; }
      const failed = find(".chat-failed");
      failed.hidden = !reply.failed || reply.runs.length > 0;
      failed.textContent = reply.failed ? `${reply.failed.name}: ${reply.failed.cause} ${reply.failed.advice}` : "";
    };

    find(".servers").addEventListener("change", (event) => {
      const run = event.target.dataset.run;
      if (!run) return;
      const box = [...find(".servers").querySelectorAll(`input[data-run="${CSS.escape(run)}"]:checked`)].map((one) => one.value);
      state.run = run;
      state.models = box;
      api.loaded = api.runs.find((one) => one.name === run);
      state.save();
      drawn = "";
      changed();
    });
    find(".servers").addEventListener("click", async (event) => {
      const { unload, open } = event.target.dataset;
      if (open) studio.openRun(open);
      if (!unload) return;
      event.target.disabled = true;
      const reply = await ask("unload", { run: unload });
      studio.toast(reply.error || (reply.memory ? say("page.chat.unloading", { memory: studio.bytes(reply.memory) }) : say("page.chat.unloading_plain")), Boolean(reply.error));
    });

    // Loading: the form of the schema, drawn when it is opened.
    find(".open-load").addEventListener("click", () => { if (find(".load").hidden) api.openLoad(); else find(".load").hidden = true; });
    api.openLoad = async (subject) => {
      const box = find(".load"), described = await ask("form", { from: subject });
      if (described.error) { studio.toast(described.error, true); return; }
      box.hidden = false;
      box.innerHTML = `<div class="drawn-form"></div><ul class="notices"></ul><p class="place"></p><div class="shown-text"><pre></pre><button class="copy" type="button">${safe(say("page.form.copy"))}</button></div>
        <button class="start primary" disabled>${safe(say("page.chat.load_now"))}</button>`;
      const check = async () => {
        const reply = await ask("check", { values: form.values });
        if (reply.error) return;
        form.judge(reply.fields);
        box.querySelector(".notices").innerHTML = reply.others.map((one) => `<li class="${safe(one.severity)}">${safe(one.text)}</li>`).join("");
        box.querySelector(".place").textContent = reply.place;
        box.querySelector("pre").textContent = reply.command;
        box.querySelector(".start").disabled = reply.blocked;
      };
      form = studio.drawnForm(box.querySelector(".drawn-form"), described, described.shown, () => { clearTimeout(timer); timer = setTimeout(check, 250); });
      await check();
      box.querySelector(".start").addEventListener("click", async () => {
        const reply = await ask("load", { values: form.values });
        studio.toast(reply.error || say("page.form.started", { name: reply.name }), Boolean(reply.error));
        if (!reply.error) { box.hidden = true; state.run = reply.name; state.models = []; state.save(); await api.tick(); }
      });
    };
    return api;
  };
})();
