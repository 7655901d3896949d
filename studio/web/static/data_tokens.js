// The Tokens view of a dataset: single rows as the model sees them, and the whole dataset counted.
(() => {
  const say = studio.say, safe = studio.escape;
  const word = (key, values) => say(`page.data.tokens.${key}`, values);
  const count = (number) => Number(number).toLocaleString(studio.language);
  const percent = (share) => `${(share * 100).toFixed(share > 0.995 && share < 1 ? 2 : 1)} %`;
  const TRAINED = 1, SPECIAL = 2, PART = 4, ADDED = 8;

  // What was chosen stays while the page lives: whose settings, and what was changed of them.
  studio.tokenChoice = studio.tokenChoice || { base: "form", changes: {}, place: {} };
  const choice = studio.tokenChoice;
  studio.tokenRequest = (more) => ({ base: choice.base, command: document.querySelector("#command pre")?.textContent || "", changes: choice.changes, ...more });

  // ---- the settings on which it depends, drawn from the server's list; `changed` hears of each new value ----
  studio.tokenSettings = (host, context, only, changed) => {
    const api = { fields: [], cutoff: null };
    const input = (field, id) => {
      const value = field.value ?? "";
      const options = field.options.map(([label, option]) => `<option value="${safe(option)}" ${option === value ? "selected" : ""}>${safe(label)}</option>`).join("");
      if (field.kind === "flag") return `<input id="${id}" data-path="${safe(field.path)}" type="checkbox" ${value ? "checked" : ""}>`;
      if (field.options.length && field.free) return `<input id="${id}" data-path="${safe(field.path)}" value="${safe(value)}" list="${id}-list" autocomplete="off"><datalist id="${id}-list">${options}</datalist>`;
      if (field.options.length) return `<select id="${id}" data-path="${safe(field.path)}">${options}</select>`;
      return `<input id="${id}" data-path="${safe(field.path)}" value="${safe(value)}" inputmode="decimal" autocomplete="off">`;
    };
    const one = (field) => {
      const id = `token-${field.path.replace(/\W/g, "-")}`;
      return `<label class="token-field ${field.kind} ${field.free ? "wide" : ""}" for="${id}" title="${safe(field.info)}"><span>${safe(field.label)}</span>${input(field, id)}</label>`;
    };
    api.draw = async () => {
      const reply = await context.ask("tokens.settings", studio.tokenRequest());
      if (reply.fields === undefined) { host.innerHTML = `<p class="bad">${safe(reply.error)}</p>`; return reply; }
      api.fields = reply.fields;
      api.cutoff = reply.cutoff;
      const shown = reply.fields.filter((field) => only === "all" || field.group === only);
      const further = shown.filter((field) => field.group === "further");
      const open = host.querySelector("details")?.open, focus = document.activeElement?.id;
      const runs = reply.runs.map((name) => `<option value="${safe(name)}" ${name === choice.base ? "selected" : ""}>${safe(word("from_run", { name }))}</option>`).join("");
      host.innerHTML = `<div class="token-settings"><label class="token-field" for="token-base"><span>${safe(word("settings_of"))}</span><select id="token-base"><option value="form">${safe(word("from_form"))}</option>${runs}</select></label>
        ${shown.filter((field) => field.group !== "further").map(one).join("")}</div>
        ${further.length ? `<details ${open ? "open" : ""}><summary>${safe(word("further"))}</summary><div class="token-settings">${further.map(one).join("")}</div></details>` : ""}
        ${Object.keys(choice.changes).length ? `<p class="muted">${safe(word("changed_here"))} <button type="button" class="link undo">${safe(word("undo_changes"))}</button></p>` : ""}
        <p class="bad" role="alert" ${reply.error ? "" : "hidden"}>${safe(reply.error || "")}</p>`;
      if (focus?.startsWith("token-")) document.getElementById(focus)?.focus();
      return reply;
    };
    api.value = (path) => api.fields.find((field) => field.path === path)?.value;
    api.change = async (path, value) => {
      const before = { ...choice.changes };
      choice.changes = { ...choice.changes, [path]: value };
      const reply = await api.draw();
      if (reply.error) { choice.changes = before; return; }
      changed();
    };
    const read = (box, field) => {
      if (field.kind === "flag") return box.checked;
      if (!box.value.trim()) return null;
      return ["integer", "number"].includes(field.kind) && !Number.isNaN(Number(box.value)) ? Number(box.value) : box.value.trim();
    };
    host.addEventListener("change", async (event) => {
      if (event.target.id === "token-base") { choice.base = event.target.value; choice.changes = {}; if (!(await api.draw()).error) changed(); return; }
      const field = api.fields.find((one) => one.path === event.target.dataset.path);
      if (field) await api.change(field.path, read(event.target, field));
    });
    host.addEventListener("click", async (event) => {
      if (!event.target.closest(".undo")) return;
      choice.changes = {};
      await api.draw();
      changed();
    });
    return api;
  };

  // ---- tokens in a box: trained ones underlined, the others dim; arrow keys walk, a line says what the token is ----
  const visible = (text) => safe(text).replace(/ /g, '<wbr><i class="space">·</i>').replace(/\t/g, '<i class="space">→</i>').replace(/\r/g, '<i class="space">␍</i>').replace(/\n/g, '<i class="space">⏎</i>\n');
  const exact = (text) => JSON.stringify(text);
  studio.tokenBox = (host, withLegend = true) => {
    const key = (name) => `<span class="key"><b class="token is-${name}">${safe(word(`legend.${name}_sample`))}</b> ${safe(word(`legend.${name}`))}</span>`;
    host.innerHTML = `${withLegend ? `<p class="token-legend">${["trained", "masked", "special", "beyond"].map(key).join("")}</p>` : ""}
      <div class="tokens" tabindex="0" role="group" aria-label="${safe(word("tokens_label"))}"></div><p class="token-reading number" aria-live="polite"></p>`;
    const box = host.querySelector(".tokens"), reading = host.querySelector(".token-reading");
    let parts = [], cutoff = Infinity, at = -1, hasLabels = true;
    const token = ([id, text, bits, turn], part, place) => {
      const names = [bits & TRAINED ? "is-trained" : "is-masked", bits & SPECIAL ? "is-special" : "", bits & PART ? "is-part" : "", bits & ADDED ? "is-added" : "", place >= cutoff ? "is-beyond" : ""].filter(Boolean);
      const role = part.turns[turn];
      return `<span class="token ${names.join(" ")}" ${role ? `data-role="${safe(role)}"` : ""} data-at="${part.from + place}">${bits & PART ? "▹" : visible(text)}</span>`;
    };
    const draw = () => {
      let from = 0;
      box.innerHTML = parts.map((part, index) => {
        part.from = from;
        from += part.tokens.length;
        const head = part.title ? `<span class="token-border of-row">${safe(part.title)}</span>` : "";
        const tokens = part.tokens.map((one, place) => (place === cutoff ? `<span class="token-border of-cutoff">${safe(word("cutoff_here", { cutoff: count(cutoff) }))}</span>` : "") + token(one, part, place)).join("");
        const more = part.total > part.shown ? `<span class="token-border">${safe(word("not_shown", { count: count(part.total - part.shown) }))}</span>` : "";
        return `${index ? "\n" : ""}${head}${tokens}${more}`;
      }).join("");
      box.classList.toggle("no-labels", !hasLabels);
      tell(-1);
    };
    const find = (place) => {
      const part = parts.find((one) => place >= one.from && place < one.from + one.tokens.length);
      return part && { part, inside: place - part.from, token: part.tokens[place - part.from] };
    };
    const tell = (place, move) => {
      box.querySelector(".is-at")?.classList.remove("is-at");
      at = place;
      const found = find(place);
      if (!found) { reading.textContent = word("reading_hint"); return; }
      const element = box.querySelector(`[data-at="${place}"]`);
      element.classList.add("is-at");
      if (move) element.scrollIntoView({ block: "nearest" });
      const [id, text, bits, turn] = found.token, role = found.part.turns[turn];
      const facts = [word("token_number", { number: count(found.inside + 1), total: count(found.part.total) }), word("token_id", { id }), exact(text), role ? word(`roles.${role}`) : word("of_template")];
      if (bits & PART) facts.push(word("is_part"));
      if (bits & ADDED) facts.push(word("is_added"));
      if (hasLabels) facts.push(found.inside >= cutoff ? word("legend.beyond") : word(bits & TRAINED ? "legend.trained" : "legend.masked"));
      reading.textContent = facts.join(" · ");
    };
    box.addEventListener("mouseover", (event) => { const element = event.target.closest("[data-at]"); if (element) tell(Number(element.dataset.at)); });
    box.addEventListener("click", (event) => { const element = event.target.closest("[data-at]"); if (element) tell(Number(element.dataset.at)); });
    box.addEventListener("keydown", (event) => {
      const last = parts.reduce((sum, part) => sum + part.tokens.length, 0) - 1;
      const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[event.key];
      if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      tell(Math.max(0, Math.min(last, next)), true);
    });
    return { set: (list, limit, labels = true) => { parts = list; cutoff = limit ?? Infinity; hasLabels = labels; draw(); } };
  };

  // ---- one row, or the rows that share a packed row ----
  const rowView = (host, context, settings) => {
    host.innerHTML = `<div class="token-head"><h3>${safe(word("row_title"))}</h3><span class="pager"><button type="button" class="button small before" aria-label="${safe(word("previous"))}">‹</button>
      <input class="place number" inputmode="numeric" aria-label="${safe(word("row_title"))}"><span class="of muted number"></span><button type="button" class="button small after" aria-label="${safe(word("next"))}">›</button></span>
      <label class="as-packed" hidden><input type="checkbox"> ${safe(word("as_packed"))}</label><button type="button" class="link edit">${safe(word("open_row"))}</button></div>
      <p class="token-facts number"></p><p class="bad" role="alert" hidden></p><div class="token-view"></div>`;
    const find = (selector) => host.querySelector(selector), box = studio.tokenBox(find(".token-view"));
    let place = context.place?.row ?? choice.place[context.name] ?? 0, units = null, packed = false, asked = 0;
    const total = () => (packed ? units : context.facts?.rows) ?? null;
    const facts = (row) => {
      const list = [word("tokens_of_row", { count: count(row.total) }), word("trained_of_row", { count: count(row.trained), share: percent(row.kept ? row.trained / row.kept : 0) })];
      if (row.total > row.kept) list.push(word("cut_of_row", { count: count(row.total - row.kept), trained: count(row.trained_whole - row.trained) }));
      if (!row.trained) list.push(word("nothing_trained"));
      return list;
    };
    const draw = async () => {
      const mine = ++asked;
      find(".place").value = place + 1;
      find(".of").textContent = total() === null ? "" : `/ ${count(total())}`;
      host.classList.add("waiting");
      const reply = await context.ask(packed ? "tokens.packed" : "tokens.row", studio.tokenRequest(packed ? { index: place } : { place }));
      if (mine !== asked) return;  // another row was asked for meanwhile
      host.classList.remove("waiting");
      const rows = reply.rows || [], problem = reply.error || rows.find((row) => row.problem)?.problem || (rows.length ? "" : word("count_first"));
      find(".bad").hidden = !problem;
      find(".bad").textContent = problem;
      const good = rows.filter((row) => row.tokens);
      find(".token-view").hidden = !good.length;
      find(".token-facts").textContent = packed && good.length
        ? [word("packed_facts", { count: good.length, tokens: count(good.reduce((sum, row) => sum + row.kept, 0)), cutoff: count(reply.cutoff) }), ...good.map((row) => word("row_number", { row: row.place + 1 }))].join(" · ")
        : good.map((row) => [row.where, ...facts(row)].join(" · ")).join("");
      find(".edit").hidden = packed;
      box.set(good.map((row) => ({ ...row, title: packed ? word("row_number", { row: row.place + 1 }) : row.side ? word(row.side) : "" })), reply.blocks ? Infinity : reply.cutoff);
      if (!packed) choice.place[context.name] = place;
    };
    const go = (to) => { place = Math.max(0, total() === null ? to : Math.min(total() - 1, to)); draw(); };
    find(".before").addEventListener("click", () => go(place - 1));
    find(".after").addEventListener("click", () => go(place + 1));
    find(".place").addEventListener("change", (event) => go((parseInt(event.target.value, 10) || 1) - 1));
    find(".edit").addEventListener("click", () => context.open(place));
    find(".as-packed input").addEventListener("change", (event) => { packed = event.target.checked; place = 0; draw(); });
    host.addEventListener("keydown", (event) => {
      const step = { PageDown: 1, PageUp: -1 }[event.key];
      if (step) { event.preventDefault(); go(place + step); }
    });
    return {
      draw,
      go: (to) => { packed = false; find(".as-packed input").checked = false; go(to); host.scrollIntoView({ block: "nearest" }); },
      know: (reply) => {
        units = reply.report?.account.units ?? null;
        find(".as-packed").hidden = !(reply.packing && reply.report);
        if (!reply.packing && packed) { packed = false; place = 0; draw(); }
        find(".of").textContent = total() === null ? "" : `/ ${count(total())}`;
      },
    };
  };

  // ---- the whole dataset ----
  const wholeView = (host, context, settings, openRow, known) => {
    host.innerHTML = `<div class="token-head"><h3>${safe(word("whole_title"))}</h3><button type="button" class="button scan"></button><span class="scan-progress" hidden><progress></progress> <span class="number"></span>
      <button type="button" class="button small stop">${safe(word("stop_counting"))}</button></span></div><p class="bad" role="alert" hidden></p><div class="whole" hidden><p class="token-sentence"></p><div class="histogram"></div><div class="token-lists"></div></div><p class="muted not-counted"></p>`;
    const find = (selector) => host.querySelector(selector);
    const chart = studio.lengthChart(find(".histogram"), (value) => settings.change(settings.cutoff, value), (value) => look(value));
    let ticket = null, asking = false, waiting = null, gone = false;
    find(".scan").textContent = word("count_now");
    const fail = (text) => { find(".bad").hidden = !text; find(".bad").textContent = text || ""; };
    const rowList = (title, places, total, note) => !total ? "" : `<div><h4>${safe(title)}${places.length < total || !note ? ` <span class="number">${count(total)}</span>` : ""}</h4>${note ? `<p class="muted">${safe(note)}</p>` : ""}<p class="row-links">${places.map(([place, more]) => `<button type="button" class="link number" data-place="${place}" ${more ? `title="${safe(more)}"` : ""}>${place + 1}</button>`).join(" ")}${total > places.length ? " …" : ""}</p></div>`;
    const show = (reply) => {
      const report = reply.report;
      find(".whole").hidden = !report;
      find(".not-counted").textContent = report ? "" : word("count_hint");
      find(".scan").textContent = word(report ? "count_again" : "count_now");
      known(reply);
      if (!report) return;
      const sums = report.account, which = sums.which;
      const lines = [
        word("sum_rows", { rows: count(sums.rows), tokens: count(sums.tokens), trained: count(sums.trained), share: percent(sums.tokens ? sums.trained / sums.tokens : 0) }),
        sums.cut ? word("sum_cut", { count: count(sums.cut), cutoff: count(reply.cutoff) }) : reply.blocks ? word("sum_blocks", { units: count(sums.units), cutoff: count(reply.cutoff) }) : word("sum_none_cut", { cutoff: count(reply.cutoff) }),
        sums.dropped ? word("sum_dropped", { count: count(sums.dropped) }) : "",
        sums.masked ? word("sum_masked", { count: count(sums.masked) }) : "",
        report.refused ? word("sum_refused", { count: count(report.refused) }) : "",
        sums.held ? word("sum_held", { count: count(sums.held) }) : "",
        reply.packing ? word("sum_packed", { units: count(sums.units), fill: percent(sums.fill) }) : "",
        word("sum_steps", { steps: count(sums.steps), batch: reply.batch, accumulation: reply.accumulation }),
      ];
      find(".token-sentence").innerHTML = lines.filter(Boolean).map(safe).join("<br>");
      chart.set(report, reply.cutoff);
      find(".token-lists").innerHTML = rowList(word("list_refused"), report.bad, report.refused, report.bad[0]?.[1]) + rowList(word("list_masked"), which.masked.map((place) => [place]), sums.masked)
        + rowList(word("list_dropped"), which.dropped.map((place) => [place]), sums.dropped) + rowList(word("list_cut"), which.cut.map((place) => [place]), sums.cut)
        + rowList(word("list_longest"), report.longest.map(([place, length]) => [place, word("tokens_of_row", { count: count(length) })]), report.longest.length, word("longest_note", { median: count(report.median), most: count(report.most), longest: count(report.longest[0]?.[1] ?? 0) }));
    };
    // The newest wish is asked next; while one is under way, those between are left out.
    const look = async (cutoff) => {
      if (asking) { waiting = { cutoff }; return; }
      asking = true;
      const request = studio.tokenRequest();
      if (cutoff !== undefined) request.changes = { ...request.changes, [settings.cutoff]: cutoff };
      const reply = await context.ask("tokens.known", request);
      asking = false;
      if (gone) return;
      fail(reply.error);
      if (!reply.error) show(reply);
      if (waiting) { const next = waiting; waiting = null; await look(next.cutoff); }
    };
    const follow = async (reply) => {
      const bar = find(".scan-progress");
      while (!gone && !reply.error && !reply.ended) {
        ticket = reply.ticket;
        bar.hidden = false;
        find(".scan").hidden = true;
        const meter = bar.querySelector("progress");
        if (reply.total) { meter.max = reply.total; meter.value = reply.done; } else meter.removeAttribute("value");
        bar.querySelector(".number").textContent = reply.total ? word("counted_of", { done: count(reply.done), total: count(reply.total) }) : reply.done ? word("counted", { done: count(reply.done) }) : word("opening");
        reply = await context.ask("tokens.poll", { ticket });
      }
      ticket = null;
      bar.hidden = true;
      find(".scan").hidden = false;
      fail(reply.error);
      if (reply.report) { show(reply); context.refresh(); }
    };
    find(".scan").addEventListener("click", async () => { fail(""); follow(await context.ask("tokens.scan", studio.tokenRequest())); });
    find(".stop").addEventListener("click", () => { if (ticket !== null) context.ask("tokens.cancel", { ticket }); });
    host.addEventListener("click", (event) => { const place = event.target.dataset?.place; if (place !== undefined) openRow(Number(place)); });
    return { look, close: () => { gone = true; chart.close(); } };
  };

  // ---- the way in from the form: the first chosen dataset with the form's settings ----
  const see = async () => {
    Object.assign(choice, { base: "form", changes: {} });
    studio.openTab("data");
    while (!studio.data) await new Promise((done) => setTimeout(done, 50));  // Gradio draws a tab when it is first opened
    const reply = await studio.data.ask("tokens.settings", studio.tokenRequest());
    const name = reply.datasets?.[0];
    if (name) studio.data.choose(name, "tokens", false); else studio.toast(reply.error || word("choose_first"), true);
  };
  // Gradio draws the form when it likes, and may draw it anew.
  studio.repeat(1000, () => {
    const card = document.getElementById("card-data");
    if (!card || card.querySelector(".see-tokens")) return;
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "see-tokens", textContent: word("see") });
    button.addEventListener("click", see);
    card.append(button);
  });

  studio.dataPanels.tokens = {
    title_key: "page.data.tokens.title",
    draw: (element, context) => {
      element.innerHTML = `<div class="token-choice"></div><section class="token-row"></section><section class="token-whole"></section>`;
      const settings = studio.tokenSettings(element.querySelector(".token-choice"), context, "all", () => { row.draw(); whole.look(); });
      const row = rowView(element.querySelector(".token-row"), context, settings);
      const whole = wholeView(element.querySelector(".token-whole"), context, settings, (place) => row.go(place), (reply) => row.know(reply));
      settings.draw().then((reply) => { if (!reply.error) { row.draw(); whole.look(); } });
      return whole.close;
    },
  };
})();
