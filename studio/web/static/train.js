// The Train tab: the form on the left, on the right what will run and the buttons that start it.
//
// A panel of the summary is studio.trainPanels.<name> = { order, shown(state), draw(element, context) } in static/train_<name>.js,
// its server side in train_<name>.py. `draw` returns { changed(state) }, which hears of each change of the form: state = { values,
// tree, types, online, valid, blocked, faults, command, yaml, version }. context = { language, say, safe, ask(verb, body, patience) ->
// Promise<reply>, state, put(values), focus(key), start() }. `ask` always gives an object, with `error` where something went wrong.
(() => {
  const say = studio.say, safe = studio.escape;
  const PAUSE = 250;  // milliseconds between two previews at the least
  studio.trainPanels = {};

  studio.drawTrain = (element, server) => {
    const host = element.querySelector(".train");
    let form = null, summary = null, panels = [], state = { version: 0 }, ready = null;
    const ask = async (action, body = {}, patience = 10000) => await studio.within(server.train({ language: studio.language, values: form?.values ?? {}, action, ...body }), patience) ?? { error: say("page.header.offline") };

    // ---- drawing ----
    const begin = async () => {
      let described = await ask("form.draw");
      while (described.error) {  // the server comes back
        host.textContent = described.error;
        await new Promise((done) => setTimeout(done, 1000));
        described = await ask("form.draw");
      }
      fresh = { ...described.values, ...described.shown };
      form = studio.drawnForm(host, arranged(described), described.shown, soon, { ids: "field", folds: true });
      layout();
      await check();
    };
    // The settings that stand alone: the basic ones belong to the summary, the others are the last fold.
    const arranged = ({ sections: [alone, ...sections], values }) => {
      const further = { name: "further", title: say("page.form.more"), folded: true, fields: alone.fields.filter((field) => field.advanced) };
      if (further.fields.length === 1) further.title = further.fields[0].label;
      const own = { name: "run", title: say("page.form.this_run"), fields: alone.fields.filter((field) => !field.advanced) };
      return { values, sections: [...sections, ...(further.fields.length ? [further] : []), own] };
    };
    const layout = () => {
      const cards = [...host.querySelectorAll(".drawn-section")], own = cards.pop(), folds = [...host.querySelectorAll(".drawn-whole")];
      const made = document.createElement("div");
      made.className = "train-frame";
      made.innerHTML = '<div class="train-cards"><div></div><div></div></div><aside class="train-side"></aside>';
      host.append(made);
      const [left, right] = made.querySelector(".train-cards").children;
      left.append(...cards);
      const below = document.createElement("div");
      below.className = "train-folds";
      below.append(...folds);
      left.append(below);
      const heights = cards.map((card) => card.offsetHeight), total = heights.reduce((sum, one) => sum + one, 0);
      let above = below.offsetHeight, split = 1, best = Infinity;  // in order, with the longer column as short as it can be
      heights.forEach((height, at) => { above += height; const longer = Math.max(above, total + below.offsetHeight - above); if (longer < best) { best = longer; split = at + 1; } });
      right.append(...cards.slice(split));
      summary = studio.trainSummary(made.querySelector(".train-side"), own, { start, fill, load, reset: () => form.put(fresh), focus: (key) => form.focus(key) });
      panels = Object.entries(studio.trainPanels).sort(([, one], [, other]) => (one.order ?? 100) - (other.order ?? 100)).map(([name, panel]) => {
        const box = document.createElement("section");
        box.className = `train-panel panel-${name}`;
        box.hidden = Boolean(panel.shown);
        summary.panels.append(box);
        return { panel, box, drawn: guarded(name, () => panel.draw(box, context)) };
      });
    };
    let fresh = {};
    // A panel that breaks takes nothing else with it.
    const guarded = (name, work) => { try { return work(); } catch (error) { console.error(name, error); return null; } };
    const context = { language: studio.language, say, safe, ask, get state() { return state; }, put: (changes) => form.put(changes), focus: (key) => form.focus(key), start: () => start({}) };

    // ---- what the form amounts to: asked again and again while it changes, the latest counts ----
    let busy = false, wanted = false, timer = null, last = 0;
    const soon = () => { timer ??= setTimeout(check, Math.max(0, last + PAUSE - Date.now())); };
    const check = async () => {
      clearTimeout(timer);
      timer = null;
      if (busy) { wanted = true; return; }
      busy = true;
      wanted = false;
      last = Date.now();
      const reply = await ask("form.check");
      busy = false;
      if (wanted) soon();
      if (reply.error) { studio.toast(reply.error, true); return; }
      tell(reply);
    };
    const tell = (reply) => {
      form.judge(reply.fields);
      form.mark(reply.refused);
      form.hide(reply.unfit);
      summary.tell(reply);
      state = { values: { ...form.values }, tree: reply.tree, types: reply.types, online: reply.online, valid: Boolean(reply.yaml), blocked: reply.blocked,
        faults: reply.notices, command: reply.command, yaml: reply.yaml, version: state.version + 1 };
      for (const { panel, box, drawn } of panels) {
        box.hidden = panel.shown ? !panel.shown(state) : false;
        guarded(box.className, () => drawn?.changed?.(state));
      }
    };

    // ---- what the buttons do ----
    const start = async (how) => {
      const reply = await ask("form.start", how, 60000);
      if (reply.question) { summary.ask(reply.question, how); return; }
      summary.ask(null);
      studio.toast(reply.error || say("page.form.started", { name: reply.name }), Boolean(reply.error));
      if (reply.name) studio.openRun(reply.name);
    };
    const fill = (reply) => {
      studio.toast(reply.error || reply.message, Boolean(reply.error));
      if (reply.shown) form.put(reply.shown);
    };
    const load = async (name, text) => fill(await ask("form.load", { name, text }));
    // What can be chosen depends on the workspace, which other tabs change.
    const refresh = async () => {
      const described = await ask("form.draw");
      if (described.error) return;
      form.offer(described);
      await check();
    };
    const fulfil = async () => {
      await (ready ??= begin());
      const asked = studio.toFill;
      studio.toFill = null;
      if (asked?.run) fill(await ask("form.take", { run: asked.run }));
      if (asked?.values) form.put(asked.values);
      if (asked?.dataset) {
        await refresh();
        const field = form.fields.find((one) => one.provider === "datasets");
        form.put({ [field.key]: asked.dataset });
      }
    };
    document.addEventListener("studio-fill", fulfil);
    document.addEventListener("studio-tab", (event) => {
      if (event.detail !== "train") return;
      if (ready) ready.then(refresh); else ready = begin();
    });
    if (studio.tab() === "train") ready ??= begin();
    if (studio.toFill) fulfil();
  };
})();
