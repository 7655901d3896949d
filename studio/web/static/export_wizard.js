// A new export in steps: the sections of the schema one by one, what each amounts to, and what stands in its way.
// The steps come from the server, which takes them from the schema by order: no setting is known here by name.
(() => {
  const say = studio.say, safe = studio.escape;
  const PAUSE = 250;  // milliseconds after the last change before the form is checked
  const MARK = { good: "✓", hint: "!", fault: "✕" };

  studio.exportWizard = (host, page, from) => {
    const api = { from };
    let described = null, form = null, state = null, timer = null, asked = 0, open = 0;
    host.innerHTML = `<div class="ex-head"><h2 tabindex="-1">${safe(say("page.export.new_title"))}</h2></div><p class="ex-about">${safe(say("page.export.new_says"))}</p><div class="ex-form"></div>`;
    const box = host.querySelector(".ex-form");
    const find = (selector) => box.querySelector(selector);
    const step = (at) => box.querySelector(`.ex-step[data-step="${at}"]`);

    // ---- drawing ----
    const frame = ({ name, title }, at) => `<li class="ex-step" data-step="${at}">
      <h3><button type="button" data-to="${at}" aria-expanded="false" aria-controls="ex-body-${at}"><span class="mark" aria-hidden="true">${at + 1}</span><span class="title">${safe(title)}</span><span class="sum"></span></button></h3>
      <div class="ex-body" id="ex-body-${at}" role="region" aria-label="${safe(title)}" hidden><p class="ex-question">${safe(say(`page.export.questions.${name}`))}</p>
        ${at === 0 ? '<div class="ex-offers"></div>' : ""}<div class="ex-fields"></div><ul class="ex-findings" aria-live="polite"></ul><div class="ex-folded"></div>
        ${at === described.steps.length - 1 ? drawEnd() : ""}
        <div class="ex-buttons">${at ? `<button type="button" data-to="${at - 1}" class="back">${safe(say("page.export.back"))}</button>` : ""}${at < described.steps.length - 1 ? `<button type="button" data-to="${at + 1}" class="next primary" disabled>${safe(say("page.export.next"))}</button>` : `<button type="button" class="start primary" disabled>${safe(say("page.export.start"))}</button><button type="button" class="save">${safe(say("page.export.yaml"))}</button>`}</div></div></li>`;
    const drawEnd = () => `<ul class="notices"></ul><p class="place"></p><p class="label">${safe(say("page.export.command"))}</p><div class="shown-text ex-command"><pre></pre><button class="copy" type="button">${safe(say("page.form.copy"))}</button></div>`;
    const draw = () => {
      const [alone, ...sections] = described.sections;
      const order = { values: described.values, sections: [...sections, { ...alone, name: "alone", title: say("page.export.its_name") }] };
      form = studio.drawnForm(box, order, described.shown, changed);
      const fieldsets = new Map([...box.querySelectorAll("[data-section]")].map((one) => [one.dataset.section, one]));
      const list = document.createElement("ol");
      list.className = "ex-steps";
      list.innerHTML = described.steps.map(frame).join("");
      box.append(list);
      for (const [at, { sections: names }] of described.steps.entries()) {
        const own = names.map((name) => fieldsets.get(name || "alone")), settled = at > 2;  // as they are, they serve most
        const title = own.map((one) => one.querySelector("legend").textContent).join(" · ");
        step(at).querySelector(settled ? ".ex-folded" : ".ex-fields").append(...(settled ? [fold(title, own)] : own));
      }
      drawOffers();
    };
    // What lies in the workspace can be chosen with one click; the fields below it stay the truth.
    const drawOffers = () => {
      const offer = (one, kind) => `<button type="button" class="ex-offer" data-offered="${kind}" aria-pressed="false"><b>${safe(one.name)}</b>${one.about ? `<span>${safe(one.about)}</span>` : ""}</button>`;
      const group = (title, all, kind) => (all.length ? `<h4>${safe(title)}</h4><div class="ex-offered">${all.map((one, at) => offer(one, `${kind}:${at}`)).join("")}</div>` : "");
      find(".ex-offers").innerHTML = (described.runs.length ? group(say("page.export.runs"), described.runs, "runs") : `<p class="none">${safe(say("page.export.runs_none"))}</p>`)
        + '<div class="ex-points" hidden></div>' + group(say("page.export.models"), described.models, "models");
      const fields = step(0).querySelector(".ex-fields");
      fields.append(fold(say("page.export.by_name"), [...fields.childNodes]));
    };
    const fold = (title, nodes) => {
      const made = document.createElement("details");
      made.className = "ex-fold";
      made.innerHTML = `<summary>${safe(title)}</summary>`;
      made.append(...nodes);
      return made;
    };
    const same = (choice) => Object.entries(choice.values).every(([key, value]) => plain(form.values[key]) === plain(value));
    const plain = (value) => (Array.isArray(value) ? value.join("\n") : String(value ?? "")).trim();
    const offers = () => ["runs", "models"].flatMap((kind) => described[kind].map((one, at) => [`${kind}:${at}`, one]));
    const chosenOf = (one) => [one, ...one.points].find(same);
    const markOffers = () => {
      let chosen = null;
      for (const [id, one] of offers()) {
        const own = Boolean(chosenOf(one)), button = find(`[data-offered="${id}"]`);
        if (own) chosen = [id, one];
        button.classList.toggle("chosen", own);
        button.setAttribute("aria-pressed", own);
      }
      const points = find(".ex-points"), all = chosen?.[1].points ?? [];
      points.hidden = !all.length;
      const whole = chosen?.[1].whole ? [{ name: say("page.export.whole_run"), path: chosen[1].path, values: chosen[1].values }] : [];
      const html = all.length ? [...whole, ...all].map((one) => `<button type="button" data-point="${safe(one.path)}" data-of="${chosen[0]}" class="${same(one) ? "chosen" : ""}" aria-pressed="${same(one)}">${safe(one.name)}</button>`).join("") : "";
      if (points.dataset.html !== html) {
        const focused = document.activeElement?.dataset?.point;
        points.dataset.html = html;
        points.innerHTML = html;
        if (focused) points.querySelector(`[data-point="${CSS.escape(focused)}"]`)?.focus();
      }
    };
    const put = (values) => {  // into the fields, as if typed
      for (const [key, value] of Object.entries(values)) {
        const field = box.querySelector(`[data-key="${CSS.escape(key)}"]`);
        if (!field) continue;
        field.value = plain(value);
        field.dispatchEvent(new Event("input", { bubbles: true }));
      }
    };

    // ---- what the fields amount to ----
    const changed = () => { clearTimeout(timer); timer = setTimeout(check, PAUSE); markOffers(); };
    const check = async () => {
      const number = ++asked;
      const reply = await page.ask("check", { values: form.values, since: described.since });
      if (number !== asked || !host.contains(box)) return;  // a later check is under way
      if (reply.error) { studio.toast(reply.error, true); return; }
      state = reply;
      form.judge(reply.fields);
      for (const [at, one] of reply.steps.entries()) drawStep(at, one);
      find(".notices").innerHTML = reply.others.map((one) => `<li class="${safe(one.severity)}">${safe(one.text)}</li>`).join("");
      find(".place").textContent = reply.place;
      find(".ex-command pre").textContent = reply.command;
      find(".ex-command").hidden = find(".label").hidden = !reply.command;
      find(".start").disabled = reply.blocked;
      find(".start").textContent = say(reply.waits ? "page.export.queue" : "page.export.start");
      find(".save").hidden = !reply.yaml;
      drawAbout();
      if (open > reach()) stand(reach());
      drawHeads();
    };
    const drawStep = (at, one) => {
      const list = step(at).querySelector(".ex-findings");
      const html = one.findings.map((found) => `<li class="${safe(found.severity)}"><i aria-hidden="true">${MARK[found.severity]}</i><div>${safe(found.text)}${found.command ? `<div class="shown-text"><pre>${safe(found.command)}</pre><button class="copy" type="button">${safe(say("page.form.copy"))}</button></div>` : ""}</div></li>`).join("");
      if (list.dataset.html !== html) { list.dataset.html = html; list.innerHTML = html; }
    };
    // What the chosen one of several types is good for, where the page has words for it.
    const drawAbout = () => {
      for (const section of described.sections) for (const field of section.fields.filter((one) => one.kind === "type")) {
        const key = `page.export.about.${form.values[field.key]}`, text = say(key);
        const segments = box.querySelector(`[data-field="${CSS.escape(field.key)}"] .segments`);
        if (!segments || text === key) continue;
        const about = segments.parentElement.querySelector(".ex-type-about") ?? Object.assign(document.createElement("p"), { className: "ex-type-about" });
        about.textContent = text;
        segments.after(about);
      }
    };
    const reach = () => {  // the furthest step that can be stood at: all before it are ready
      const first = state ? state.steps.findIndex((one) => !one.ready) : 0;
      return first < 0 ? described.steps.length - 1 : first;
    };
    const drawHeads = () => {
      for (const at of described.steps.keys()) {
        const one = state?.steps[at], item = step(at), button = item.querySelector("h3 button");
        const last = at === described.steps.length - 1, done = Boolean(one?.ready) && at < reach() + (last ? 0 : 1) && at !== open;
        item.classList.toggle("open", at === open);
        item.classList.toggle("done", done && at < open);
        item.classList.toggle("stuck", one?.findings.some((found) => found.severity === "fault") ?? false);
        button.setAttribute("aria-expanded", at === open);
        button.disabled = at > reach();
        item.querySelector(".mark").textContent = item.classList.contains("done") ? "✓" : at + 1;
        item.querySelector(".sum").textContent = at !== open && at <= reach() && one ? one.summary : "";
        item.querySelector(".ex-body").hidden = at !== open;
        const next = item.querySelector(".next");
        if (next) next.disabled = !one?.ready;
      }
    };
    const stand = (at) => {
      open = Math.max(0, Math.min(at, described.steps.length - 1));
      if (!host.hidden && !page.place.name && (Number(page.place.step) || 1) !== open + 1) { page.place.step = open ? String(open + 1) : null; studio.address({ step: page.place.step }); }
    };
    api.stand = (text) => {  // where the address says; the focus goes along
      if (!form) return;
      stand(Math.min((Number(text) || 1) - 1, reach()));
      drawHeads();
      clearTimeout(timer);
      check();
    };

    // ---- what is clicked ----
    const to = (at) => {
      page.go({ step: at ? String(at + 1) : null });
      const body = step(at).querySelector(".ex-body");
      (body.querySelector("button.chosen, input:checked, input:not([type=hidden]), .next, .start") ?? body).focus({ preventScroll: true });
      step(at).scrollIntoView({ block: "nearest", behavior: "smooth" });
    };
    const start = async () => {
      find(".start").disabled = true;
      const reply = await page.ask("start", { values: form.values, since: described.since });
      find(".start").disabled = false;
      studio.toast(reply.error || say("page.form.started", { name: reply.name }), Boolean(reply.error));
      if (reply.error) check(); else page.begun(reply.name);
    };
    box.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const { to: where, offered, point, of } = button.dataset;
      if (where !== undefined) to(Number(where));
      if (offered) put(offers().find(([id]) => id === offered)[1].values);
      if (point) put([offers().find(([id]) => id === of)[1]].flatMap((one) => [one, ...one.points]).find((one) => one.path === point).values);
      if (button.classList.contains("start")) start();
      if (button.classList.contains("save")) studio.download("export.yaml", state.yaml);
    });
    box.addEventListener("keydown", (event) => {  // Enter in a field goes on, as in every wizard
      if (event.key !== "Enter" || event.target.tagName !== "INPUT" || event.isComposing) return;
      event.preventDefault();
      step(open).querySelector(".next:not(:disabled)")?.click();
    });

    (async () => {
      const reply = await page.ask("form", { from });
      if (!host.contains(box)) return;  // somebody went on meanwhile
      if (reply.error) { studio.toast(reply.error, true); return; }
      described = reply;
      draw();
      markOffers();
      const named = Object.keys(reply.shown).length > 0 && !offers().some(([, one]) => chosenOf(one));
      find(".ex-fold").open = named || !(reply.runs.length + reply.models.length);
      open = Math.max(0, (Number(page.place.step) || 1) - 1);
      await check();
      if (!state) drawHeads();
    })();
    return api;
  };
})();
