// A new evaluation: the form of the schema, what it amounts to, and the button that starts it.
(() => {
  const say = studio.say, safe = studio.escape;
  const PAUSE = 250;  // milliseconds after the last change before the form is checked

  studio.evaluateNew = async (host, page, subject) => {
    host.innerHTML = `<div class="ev-head"><h2 tabindex="-1">${safe(say("page.evaluate.new_title"))}</h2></div><p class="ev-about">${safe(say("page.evaluate.new_says"))}</p><div class="ev-form"></div>`;
    const described = await page.ask("form", { subject });
    if (page.place.fresh !== (subject || "1") || !host.querySelector(".ev-form")) return;  // somebody went on meanwhile
    if (described.error) { studio.toast(described.error, true); return; }
    const box = host.querySelector(".ev-form");
    box.innerHTML = `<div class="drawn-form"></div><div class="ev-summary"><ul class="notices"></ul><p class="place"></p>
      <div class="shown-text"><pre></pre><button class="copy" type="button">${safe(say("page.form.copy"))}</button></div>
      <div class="ev-buttons"><button class="start primary" disabled>${safe(say("page.evaluate.start"))}</button><button class="save">${safe(say("page.evaluate.yaml"))}</button></div></div>`;
    const find = (selector) => box.querySelector(selector);
    let timer = null, yaml = "";
    // The settings that stand alone, such as the name, come behind the others.
    const [alone, ...sections] = described.sections;
    const order = { values: described.values, sections: [...sections, { ...alone, name: "alone", title: say("page.evaluate.its_name") }] };
    const check = async () => {
      const reply = await page.ask("check", { values: form.values });
      if (reply.error) { studio.toast(reply.error, true); return; }
      form.judge(reply.fields);
      const open = [...Object.values(reply.fields).filter((one) => one.severity === "to-do"), ...reply.others];
      find(".notices").innerHTML = open.map((one) => `<li class="${safe(one.severity)}">${safe(one.text)}</li>`).join("");
      find(".place").textContent = reply.place;
      find("pre").textContent = reply.command;
      find(".shown-text").hidden = !reply.command;
      find(".start").disabled = reply.blocked;
      yaml = reply.yaml;
      find(".save").hidden = !yaml;
    };
    const form = studio.drawnForm(find(".drawn-form"), order, described.shown, () => { clearTimeout(timer); timer = setTimeout(check, PAUSE); });
    await check();
    find(".save").addEventListener("click", () => studio.download("evaluate.yaml", yaml));
    find(".start").addEventListener("click", async () => {
      find(".start").disabled = true;
      const reply = await page.ask("start", { values: form.values });
      find(".start").disabled = false;
      studio.toast(reply.error || say("page.form.started", { name: reply.name }), Boolean(reply.error));
      if (!reply.error) page.go({ name: reply.name, fresh: null });
    });
  };
})();
