// The right side of the Train tab: the run's name, one sentence on what will run, faults and hints, the buttons, command and file.
(() => {
  const say = studio.say, safe = studio.escape;
  const ANSWERS = ["resume", "rename", "replace"];

  // `own` are the fields of the run itself; `acts` = { start(how), load(name, text), reset(), focus(key) }.
  studio.trainSummary = (side, own, acts) => {
    const text = (key) => safe(say(`page.form.${key}`));
    const shown = (id) => `<div class="shown-text" id="${id}"><pre></pre><button class="copy" type="button">${text("copy")}</button></div>`;
    side.innerHTML = `<section class="card summary"><div class="own"></div>
      <div id="summary" aria-live="polite"><p class="sentence"></p><p class="place"></p><ul class="notices"></ul></div>
      <div class="train-panels"></div>
      <div class="train-buttons begin"><button type="button" id="start" class="primary" disabled>${text("start")}</button><button type="button" id="hold" disabled>${text("queue_held")}</button></div>
      <div class="question" id="question" role="group" hidden><p></p><div class="train-buttons small">${ANSWERS.map((name) => `<button type="button" id="exists-${name}" data-answer="${name}">${text(`exists_${name}`)}</button>`).join("")}<button type="button" id="exists-cancel">${text("exists_cancel")}</button></div></div>
      <h3>${text("command")}</h3>${shown("command")}
      <details class="drawn-fold"><summary>${text("yaml")}</summary>${shown("yaml")}
        <div class="train-buttons small"><button type="button" id="save-yaml">${text("save_yaml")}</button><span id="load-yaml"><button type="button">${text("load_yaml")}</button><input type="file" accept=".yaml,.yml" hidden></span><button type="button" id="reset">${text("reset")}</button></div></details></section>`;
    const find = (selector) => side.querySelector(selector);
    find(".own").append(own);
    let asked = {};

    const put = (selector, words) => { const place = find(selector); if (place.textContent !== words) place.textContent = words; };
    const api = { panels: find(".train-panels") };
    api.tell = (reply) => {
      put(".sentence", reply.sentence);
      put(".place", reply.place);
      const html = reply.notices.map((one) => `<li class="${safe(one.severity)}">${one.key ? `<button type="button" data-to="${safe(one.key)}">${safe(one.label)}</button>` : `<b>${safe(one.label)}</b>`} ${safe(one.text)}</li>`).join("");
      const list = find(".notices");
      if (list.dataset.html !== html) { list.dataset.html = html; list.innerHTML = html; }
      put("#command pre", reply.command);
      put("#yaml pre", reply.yaml);
      find("#start").disabled = find("#hold").disabled = reply.blocked;
      find("#save-yaml").disabled = !reply.yaml;
    };
    // The question what shall happen to a run of that name; null takes it away.
    api.ask = (question, how) => {
      asked = how ?? {};
      find("#question").hidden = !question;
      put("#question p", question ?? "");
      if (question) find("#exists-resume").focus();
    };

    const read = async (file) => {
      try {
        acts.load(file.name, new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()));
      } catch (error) { studio.toast(`${file.name}: ${error.message}`, true); }
    };
    find("#load-yaml input").addEventListener("change", (event) => { if (event.target.files[0]) read(event.target.files[0]); });
    find("#load-yaml button").addEventListener("click", () => find("#load-yaml input").click());
    find("#save-yaml").addEventListener("click", () => studio.download("run.yaml", find("#yaml pre").textContent));
    find("#reset").addEventListener("click", acts.reset);
    side.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.id === "start" || button.id === "hold") acts.start({ hold: button.id === "hold" });
      if (button.dataset.answer) acts.start({ ...asked, if_exists: button.dataset.answer });
      if (button.id === "exists-cancel") api.ask(null);
      if (button.dataset.to) acts.focus(button.dataset.to);
    });
    return api;
  };
})();
