// Columns to roles by clicking: a role above each column, and beside it what the trainer would understand, at once.
(() => {
  const say = studio.say, safe = studio.escape;
  const ROLES = ["prompt", "query", "response", "messages", "text", "system", "history", "tools", "chosen", "rejected", "kto_tag", "images", "videos", "audios"];
  const SPEAKERS = ["user_tag", "assistant_tag", "system_tag", "observation_tag", "function_tag"];

  // One row as the trainer reads it, or why it does not; also used by the other views.
  studio.dataRead = (row, hints = true) => {
    if (row.fault) return `<p class="fault">${safe(row.fault)}</p>`;
    if (!row.read) return "";
    const turn = ({ who, said, calls = [], untrained }) => `<div class="turn ${safe(who)} ${untrained ? "untrained" : ""}"><span class="who">${safe(say(`page.data.who.${who}`))}${untrained ? ` <i title="${safe(say("page.data.untrained"))}">∅</i>` : ""}</span>
      <div>${said ? `<div class="said">${safe(said)}</div>` : ""}${calls.map((call) => `<div class="said call">→ ${safe(call)}</div>`).join("")}</div></div>`;
    const more = [];
    if (row.read.tools) more.push(turn({ who: "tools", said: row.read.tools }));
    if (row.read.label !== null) more.push(turn({ who: "kto_tag", said: say(row.read.label ? "page.data.good" : "page.data.bad") }));
    if (row.read.media.length) more.push(turn({ who: "media", said: row.read.media.join("\n") }));
    return `<div class="turns">${row.read.turns.map(turn).join("")}${more.join("")}</div>${row.hint && hints ? `<p class="hint">${safe(row.hint)}</p>` : ""}`;
  };

  // `look` is what the server knows of the file, `preview(clicks)` asks it what the clicks amount to, `changed` hears of each answer.
  studio.dataMapping = (box, look, preview, changed) => {
    const roles = { ...look.roles }, tags = { ...look.tags }, fill = { ...look.fill };
    box.innerHTML = `<div class="mapping-why"></div><div class="mapping"><div class="raw"><h3>${safe(say("page.data.columns.raw"))}</h3><div class="scroll" tabindex="0"><table><thead></thead><tbody></tbody></table></div>
        <div class="speakers" hidden></div><div class="fill" hidden></div></div>
      <div class="understood"><h3>${safe(say("page.data.columns.understood"))} <span class="verdict" role="status"></span></h3><div class="hints"></div><ol></ol></div></div>
      <details class="entry"><summary>${safe(say("page.data.columns.entry"))}</summary><pre></pre></details>`;
    const find = (selector) => box.querySelector(selector);
    find(".mapping-why").innerHTML = look.unknown ? `<p class="note-box warn" title="${safe(look.unknown)}">${safe(say("page.data.columns.unknown"))}</p>`
      : look.why.length ? `<p class="note-box">${look.why.map(safe).join(" ")}</p>` : "";

    const options = (chosen, values, label) => values.map((value) => `<option value="${safe(value)}" ${value === chosen ? "selected" : ""}>${safe(label(value))}</option>`).join("");
    const drawHead = () => {
      find("thead").innerHTML = `<tr>${look.columns.map((column) => `<th scope="col" class="${roles[column] ? "used" : ""}"><span title="${safe(column)}">${safe(column)}</span>
        <select class="role" data-column="${safe(column)}" aria-label="${safe(say("page.data.columns.role_of", { column }))}">${options(roles[column] || "", ["", ...ROLES], (role) => say(`page.data.roles.${role || "none"}`))}</select></th>`).join("")}</tr>`;
    };
    // The columns whose turns matter now: a conversation, or two answers that are turns.
    const talking = () => look.columns.find((column) => look.turns[column] && ["messages", "chosen", "rejected"].includes(roles[column]));
    const drawSpeakers = () => {
      const column = talking(), host = find(".speakers");
      host.hidden = !column;
      if (!column) return;
      const keys = Object.keys(look.turns[column]);
      if (!keys.includes(tags.role_tag)) tags.role_tag = keys.find((key) => look.turns[column][key].length) || keys[0];
      if (!keys.includes(tags.content_tag)) tags.content_tag = keys.find((key) => key !== tags.role_tag) || keys[0];
      const speakers = look.turns[column][tags.role_tag] || [];
      for (const tag of SPEAKERS) if (tags[tag] && !speakers.includes(tags[tag]) && !look.roles[column]) delete tags[tag];
      const roleOf = (speaker) => SPEAKERS.find((tag) => tags[tag] === speaker) || "";
      host.innerHTML = `<h3>${safe(say("page.data.columns.turns"))}</h3><div class="fields-grid">
        <label>${safe(say("page.data.columns.role_key"))}<select data-tag="role_tag">${options(tags.role_tag, keys, (key) => key)}</select></label>
        <label>${safe(say("page.data.columns.content_key"))}<select data-tag="content_tag">${options(tags.content_tag, keys, (key) => key)}</select></label>
        ${speakers.map((speaker) => `<label><span>“${safe(speaker)}”</span><select data-speaker="${safe(speaker)}">${options(roleOf(speaker), ["", ...SPEAKERS], (tag) => say(`page.data.speakers.${tag || "none"}`))}</select></label>`).join("")}</div>`;
    };
    const drawFill = () => {
      const host = find(".fill");
      host.hidden = !look.placeholders.length;
      host.innerHTML = `<h3>${safe(say("page.data.columns.fill"))}</h3><div class="fields-grid">${look.placeholders.map((name) => `<label><span>{{${safe(name)}}}</span><input data-fill="${safe(name)}" value="${safe(fill[name] || "")}"></label>`).join("")}</div>`;
    };
    const drawRows = (reply) => {
      find("tbody").innerHTML = reply.rows.map((row) => `<tr>${look.columns.map((column) => `<td class="${roles[column] ? "used" : ""}"><div>${safe(row.cells[column] ?? "")}</div></td>`).join("")}</tr>`).join("");
      // With no role at all there is nothing to understand yet, and no fault of the file's.
      if (!look.plain && !Object.keys(roles).length) {
        find("ol").innerHTML = "";
        find(".verdict").className = "verdict muted";
        find(".verdict").textContent = say("page.data.columns.begin");
        return;
      }
      find("ol").innerHTML = reply.rows.map((row) => `<li class="${row.fault ? "faulty" : ""}"><span class="place number">${row.row}</span><div>${studio.dataRead(row, false)}</div></li>`).join("");
      const verdict = find(".verdict");
      verdict.className = `verdict ${reply.faulty ? "bad" : "good"}`;
      verdict.textContent = reply.faulty ? `✕ ${say("page.data.columns.faulty", { count: reply.faulty, rows: reply.looked_at })}` : `✓ ${say("page.data.columns.whole", { rows: reply.looked_at })}`;
      find(".hints").innerHTML = reply.hints.map((hint) => `<p class="note-box warn">${safe(say("page.data.columns.untrainable"))} ${safe(hint)}</p>`).join("");
      find(".entry pre").textContent = JSON.stringify(reply.entry, null, 2);
    };

    const clicks = () => ({ roles, fill, tags: talking() ? Object.fromEntries(Object.entries(tags).filter(([tag, value]) => tag.endsWith("role_tag") || tag === "content_tag" || (look.turns[talking()][tags.role_tag] || []).includes(value))) : {} });
    let asked = 0;
    const update = async (touched) => {
      const mine = ++asked, reply = await preview(clicks());
      if (mine !== asked || !box.isConnected) return;  // a later click has been asked about meanwhile
      if (reply.error) { find(".verdict").className = "verdict bad"; find(".verdict").textContent = reply.error; }
      else drawRows(reply);
      changed(reply, touched);
    };
    box.addEventListener("change", (event) => {
      const { column, tag, speaker } = event.target.dataset, value = event.target.value;
      if (column !== undefined) {
        for (const other of look.columns) if (value && roles[other] === value && other !== column) delete roles[other];
        if (value) roles[column] = value; else delete roles[column];
        drawHead();
        drawSpeakers();
        box.querySelector(`select[data-column="${CSS.escape(column)}"]`)?.focus();
      } else if (tag !== undefined) {
        tags[tag] = value;
        drawSpeakers();
        box.querySelector(`select[data-tag="${tag}"]`)?.focus();
      } else if (speaker !== undefined) {
        for (const name of SPEAKERS) if (tags[name] === speaker) delete tags[name];
        if (value) tags[value] = speaker;
        drawSpeakers();
        box.querySelector(`select[data-speaker="${CSS.escape(speaker)}"]`)?.focus();
      } else return;
      update(true);
    });
    box.addEventListener("input", (event) => {
      if (event.target.dataset.fill === undefined) return;
      fill[event.target.dataset.fill] = event.target.value;
      update(true);
    });
    if (look.plain) find(".raw .scroll").hidden = true;
    drawHead();
    drawSpeakers();
    drawFill();
    update(false);
    return { clicks };
  };

  studio.dataPanels.columns = {
    title_key: "page.data.columns.title",
    draw: (element, context) => {
      element.innerHTML = `<div class="columns-of"></div><div class="tools-row"><button class="button strong save" disabled>${safe(say("page.data.columns.save"))}</button><span class="muted said"></span></div>`;
      const save = element.querySelector(".save"), host = element.querySelector(".columns-of");
      let mapping = null;
      const load = async () => {
        const look = await context.ask("columns.look");
        if (look.error) { host.innerHTML = `<p class="note-box bad">${safe(look.error)}</p>`; return; }
        mapping = studio.dataMapping(host, look, (clicks) => context.ask("columns.preview", clicks), (reply, touched) => {
          if (touched) save.disabled = Boolean(reply.error);
        });
      };
      save.addEventListener("click", async () => {
        const reply = await context.ask("columns.save", mapping.clicks());
        studio.toast(reply.error || reply.message, Boolean(reply.error));
        if (!reply.error) { save.disabled = true; context.refresh(); }
      });
      load();
    },
  };
})();
