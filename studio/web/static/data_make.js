// New datasets from this one (split, merge, convert), its versions, and its download.
(() => {
  const say = studio.say, safe = studio.escape;

  studio.dataPanels.make = {
    title_key: "page.data.make.title",
    draw: (element, context) => {
      const field = (name, key, more = "", wide = "") => `<label class="${wide}">${safe(say(`page.data.make.${key}`))}<input name="${name}" ${more} autocomplete="off" spellcheck="false"></label>`;
      const skip = `<label class="inline"><input type="checkbox" name="skip"> ${safe(say("page.data.make.skip"))}</label>`;
      const card = (what, fields) => `<form class="make-card" data-what="${what}"><h3>${safe(say(`page.data.make.${what}`))}</h3><p class="muted">${safe(say(`page.data.make.${what}_says`))}</p>${fields}
        <div class="foot">${skip}<button class="button push go">${safe(say(`page.data.make.${what}_do`))}</button></div><code class="command"></code>
        <div class="working" hidden><span class="number" role="status"></span><div class="progress unknown"><div></div></div><button type="button" class="button small stop">${safe(say("page.data.checks.stop"))}</button></div><p class="note-box" role="status" hidden></p></form>`;
      element.innerHTML = `<div class="make"></div>`;
      const box = element.querySelector(".make");
      let known = null, closed = false;

      const formats = () => known.formats.map((format) => `<option value="${format}">${safe(say(`page.data.formats.${format}`))}</option>`).join("");
      const free = (name) => { let made = name, count = 1; while (known.names.includes(made)) made = `${name}-${++count}`; return made; };
      const draw = () => {
        const usual = known.formats.includes(known.formatting) ? known.formatting : "openai";
        box.innerHTML = `${card("split", `<div class="fields-grid">${field("size", "size", 'value="0.1" inputmode="decimal"')}${field("seed", "seed", 'value="42" inputmode="numeric"')}${field("train", "train_name", `value="${safe(free(`${context.name}_train`))}"`)}${field("held", "held_name", `value="${safe(free(`${context.name}_held`))}"`)}</div><p class="muted number outcome"></p>`)}
          ${card("merge", `<div class="parts"></div><div class="fields-grid"><label>${safe(say("page.data.make.add_part"))}<select name="part"><option value=""></option>${known.others.map((one) => `<option value="${safe(one.name)}">${safe(one.name)}</option>`).join("")}</select></label>${field("to", "new_name", `value="${safe(free(`${context.name}_merged`))}"`)}<label>${safe(say("page.data.make.format"))}<select name="format">${formats()}</select></label>${field("seed", "seed", 'value="42" inputmode="numeric"')}</div><p class="muted number outcome"></p>`)}
          ${card("convert", `<div class="fields-grid"><label>${safe(say("page.data.make.format"))}<select name="format">${formats()}</select></label>${field("to", "new_name", `value="${safe(free(`${context.name}_${usual === "openai" ? "alpaca" : "openai"}`))}"`)}</div>`)}
          <form class="make-card" data-what="download"><h3>${safe(say("page.data.make.download"))}</h3><p class="muted">${safe(say("page.data.make.download_says"))}</p><div class="fields-grid">
            <label>${safe(say("page.data.make.format"))}<select name="format">${known.as_it_is ? `<option value="as_it_is">${safe(say("page.data.make.as_it_is"))}</option>` : ""}${formats()}</select></label>
            <label class="ending">${safe(say("page.data.make.ending"))}<select name="ending">${known.endings.map((ending) => `<option>${ending}</option>`).join("")}</select></label></div>
            <div class="foot">${skip}<button class="button push go">${safe(say("page.data.make.download_do"))}</button></div><p class="note-box" role="status" hidden></p></form>
          <section class="make-card versions"><h3>${safe(say("page.data.make.versions"))}</h3><p class="muted">${safe(say("page.data.make.versions_says"))}</p><ul>${known.versions.map((one) => `<li class="${one.current ? "current" : ""}"><span class="file">${safe(one.file || "–")}</span>
            <span class="muted number">${[one.rows === null ? "" : say("page.data.rows_count", { count: studio.count(one.rows) }), studio.bytes(one.size), new Date(one.time * 1000).toLocaleString(studio.language)].filter(Boolean).map(safe).join(" · ")}</span>
            ${one.current ? `<span class="used">✓ ${safe(say("page.data.make.current"))}</span>` : `<button type="button" class="button small" data-file="${safe(one.file)}">${safe(say("page.data.make.use_it"))}</button>`}</li>`).join("")}</ul></section>`;
        const convert = box.querySelector("[data-what=convert]");
        convert.elements.format.value = usual === "openai" ? "alpaca" : "openai";
        box.querySelector("[data-what=merge]").elements.format.value = usual;
        for (const form of box.querySelectorAll("form[data-what]")) preview(form);
      };

      // ---- the command of a form, as one would type it ----
      const body = (form) => ({
        what: form.dataset.what,
        ...Object.fromEntries([...new FormData(form)].filter(([name]) => !["skip", "part", "weight"].includes(name)).map(([name, value]) => [name, value.trim()])),
        skip: form.elements.skip.checked,
        parts: parts(form),
      });
      const parts = (form) => (form.dataset.what !== "merge" ? undefined : [...form.querySelectorAll(".part")].map((row) => ({ name: row.dataset.name, weight: row.querySelector("input").value })));
      const addPart = (form, name) => {
        form.querySelector(".parts").insertAdjacentHTML("beforeend", `<div class="part" data-name="${safe(name)}"><b>${safe(name)}</b><label class="inline muted">× <input name="weight" value="1" inputmode="decimal" size="4" aria-label="${safe(say("page.data.make.weight"))}"></label>${name === context.name ? "" : `<button type="button" class="link" data-drop aria-label="${safe(say("page.data.rows.remove"))}">✕</button>`}</div>`);
        const option = form.querySelector(`[name=part] option[value="${CSS.escape(name)}"]`);
        if (option) option.disabled = true;
      };
      const rowsOf = (name) => (name === context.name ? known.rows : known.others.find((one) => one.name === name)?.rows) ?? null;
      const outcome = (form) => {
        const note = form.querySelector(".outcome");
        if (!note) return;
        if (form.dataset.what === "split") {
          const rows = rowsOf(context.name), size = Number(form.elements.size.value.replace(",", ".")), held = size < 1 ? Math.max(1, Math.round(size * rows)) : Math.floor(size);
          note.textContent = rows && size > 0 && held < rows ? say("page.data.make.split_gives", { train: studio.count(rows - held), held: studio.count(held) }) : "";
        } else {
          const counts = parts(form).map((part) => (rowsOf(part.name) ?? NaN) * Number(part.weight.replace(",", ".")));
          const sum = counts.reduce((total, count) => total + Math.round(count), 0);
          note.textContent = counts.length > 1 && sum > 0 ? say("page.data.make.merge_gives", { rows: studio.count(sum) }) : "";
        }
      };
      const preview = async (form) => {
        if (form.dataset.what === "download") { form.querySelector(".ending").hidden = form.querySelector(".inline").hidden = form.elements.format.value === "as_it_is"; return; }
        if (form.dataset.what === "merge" && !form.querySelector(".part")) addPart(form, context.name);
        outcome(form);
        const mine = form.dataset.asked = String(Number(form.dataset.asked || 0) + 1);
        const reply = await context.ask("make.preview", body(form));
        if (closed || form.dataset.asked !== mine) return;
        const command = form.querySelector(".command");
        command.textContent = reply.error || reply.command;
        command.classList.toggle("muted", Boolean(reply.error));
        form.querySelector(".go").disabled = Boolean(reply.error) || !form.querySelector(".working").hidden;
      };
      const note = (form, text, bad) => { const box = form.querySelector(".note-box"); box.hidden = !text; box.textContent = text || ""; box.classList.toggle("bad", Boolean(bad)); };

      const follow = async (form, reply) => {
        const working = form.querySelector(".working"), button = form.querySelector(".go");
        while (!closed && !reply.error && reply.working) {
          working.hidden = false;
          button.disabled = true;
          working.querySelector("span").textContent = studio.time(reply.seconds);
          form.dataset.work = reply.work;
          await new Promise((resolve) => setTimeout(resolve, reply.seconds < 2 ? 200 : 700));
          reply = await context.ask("make.state", { work: reply.work });
        }
        if (closed) return;
        working.hidden = true;
        button.disabled = false;
        const bad = Boolean(reply.error) || (reply.code !== 0 && reply.code !== null);
        note(form, reply.error || reply.output || say("page.data.make.stopped"), bad);
        if (bad) return;
        await context.refresh();
        const fresh = await context.ask("make.open");
        if (!closed && !fresh.error) known = fresh;
      };
      const download = async (form) => {
        const button = form.querySelector(".go");
        button.disabled = true;
        note(form, "");
        const reply = await context.ask("make.download", body(form));
        button.disabled = false;
        if (reply.error) { note(form, reply.error, true); return; }
        const link = document.createElement("a");
        link.href = reply.link;
        link.click();
      };
      box.addEventListener("submit", async (event) => {
        event.preventDefault();
        const form = event.target;
        if (form.dataset.what === "download") { download(form); return; }
        note(form, "");
        follow(form, await context.ask("make.start", body(form)));
      });
      box.addEventListener("input", (event) => { const form = event.target.closest("form"); if (form) preview(form); });
      box.addEventListener("change", (event) => {
        if (event.target.name !== "part" || !event.target.value) return;
        const form = event.target.closest("form");
        addPart(form, event.target.value);
        event.target.value = "";
        preview(form);
      });
      box.addEventListener("click", async (event) => {
        const form = event.target.closest("form");
        if (event.target.dataset.drop !== undefined) {
          const row = event.target.closest(".part");
          form.querySelector(`[name=part] option[value="${CSS.escape(row.dataset.name)}"]`).disabled = false;
          row.remove();
          preview(form);
        }
        if (event.target.classList.contains("stop")) await context.ask("make.stop", { work: form.dataset.work });
        if (event.target.dataset.file !== undefined) {
          const reply = await context.ask("make.use", { file: event.target.dataset.file });
          studio.toast(reply.error || reply.message, Boolean(reply.error));
          await context.refresh();
          load();
        }
      });
      const load = async () => {
        const reply = await context.ask("make.open");
        if (closed) return;
        if (reply.error) { box.innerHTML = `<p class="note-box bad">${safe(reply.error)}</p>`; return; }
        known = reply;
        draw();
      };
      load();
      return () => { closed = true; };
    },
  };

  // A dataset of a hub or a cloud: fetch it first.
  studio.dataFetch = (element, context) => {
    element.innerHTML = `<p>${safe(say("page.data.fetch.says"))} <code>${safe(context.facts.file)}</code></p><div class="tools-row fetch"><button class="button strong">${safe(say("page.data.fetch.do"))}</button><code class="command"></code></div>
      <div class="working" hidden><span class="number"></span><div class="progress unknown"><div></div></div><button class="button small stop">${safe(say("page.data.checks.stop"))}</button></div><p class="note-box" hidden></p>`;
    const find = (selector) => element.querySelector(selector), note = find(".note-box");
    let work = null, closed = false;
    context.ask("make.preview", { what: "fetch" }).then((reply) => { find(".command").textContent = reply.command || ""; });
    find(".strong").addEventListener("click", async () => {
      note.hidden = true;
      find(".strong").disabled = true;
      let reply = await context.ask("make.start", { what: "fetch" });
      while (!closed && reply.working) {
        work = reply.work;
        find(".working").hidden = false;
        find(".working span").textContent = studio.time(reply.seconds);
        await new Promise((resolve) => setTimeout(resolve, 700));
        reply = await context.ask("make.state", { work });
      }
      if (closed) return;
      find(".working").hidden = true;
      find(".strong").disabled = false;
      const bad = Boolean(reply.error) || (reply.code !== 0 && reply.code !== null);
      note.hidden = !bad;
      note.classList.toggle("bad", bad);
      note.textContent = reply.error || reply.output || say("page.data.make.stopped");
      context.refresh();
    });
    find(".stop").addEventListener("click", () => context.ask("make.stop", { work }));
    return () => { closed = true; };
  };
})();
