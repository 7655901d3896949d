// The forecast panel: a bar of memory by part against what is free, steps and time, "Make it fit" and "Measure".
(() => {
  const PART_ORDER = ["weights", "adapter", "reference", "gradients", "optimizer", "activations", "logits", "cache", "allocator", "framework"];
  const PAUSE = 400;  // milliseconds between two looks at something that goes on
  const gigabytes = (bytes) => `${(bytes / 2 ** 30).toFixed(bytes < 1e10 ? 2 : 1)} GB`;  // powers of 1024, as everywhere on the page
  const later = (ms) => new Promise((done) => setTimeout(done, ms));

  studio.trainPanels.forecast = {
    order: 10,
    shown: (state) => !state.blocked,  // the form says at its fields what is wrong; nothing can be forecast before that
    draw(element, context) {
      const { safe, ask } = context;
      const say = (key, values) => context.say(`page.train.forecast.${key}`, values);
      const number = (value) => Number(value).toLocaleString(context.language);
      element.innerHTML = `<div class="forecast" data-state="none">
        <div class="forecast-head"><h3>${safe(say("title"))}</h3><b class="forecast-total"></b></div>
        <div class="forecast-bar" role="img"></div><ul class="forecast-legend"></ul>
        <p class="forecast-said" aria-live="polite"></p><p class="forecast-length"></p><p class="forecast-measured"></p>
        <div class="forecast-fit" hidden></div>
        <div class="train-buttons small"><button type="button" id="forecast-fit" hidden>${safe(say("fit"))}</button><button type="button" id="forecast-measure">${safe(say("measure"))}</button></div></div>`;
      const find = (selector) => element.querySelector(selector);
      const put = (selector, words) => { const place = find(selector); if (place.textContent !== words) place.textContent = words; };
      const box = find(".forecast");
      let busy = false, again = false, asked = "", place = null, probe = null;

      // The answer of a question that the helper works on; null when the form moved on meanwhile.
      const answered = async (reply, valid) => {
        while (!reply.error && !reply.answer) {
          if (!valid()) return null;
          await later(PAUSE);
          reply = await ask("forecast.news", { ticket: reply.ticket });
        }
        return reply;
      };

      const estimate = async () => {
        if (busy) { again = true; return; }
        busy = true;
        again = false;
        const version = context.state.version;
        let reply = await ask("forecast.estimate", {});
        place = reply.place ?? place;
        reply = await answered(reply, () => context.state.version === version || !again);
        busy = false;
        if (again) { estimate(); return; }
        if (reply) show(reply);
      };

      const show = (reply) => {
        box.dataset.state = reply.error ? "error" : "known";
        if (reply.error) {
          put(".forecast-total", "");
          put(".forecast-said", reply.error);
          for (const part of [".forecast-length", ".forecast-measured"]) put(part, "");
          find(".forecast-bar").innerHTML = find(".forecast-legend").innerHTML = "";
          return;
        }
        const made = reply.answer, fits = made.total <= place.limit;
        box.dataset.fits = fits;
        put(".forecast-total", say("of", { total: gigabytes(made.total), free: gigabytes(place.free) }));
        bar(made);
        put(".forecast-said", say(fits ? "fits" : "fits_not", { device: place.name }) + " " + say(made.known ? "from_rows" : "from_cutoff", { rows: number(made.batch.rows), length: number(made.batch.length) }));
        const length = [];
        if (made.steps) length.push(say("steps", { steps: number(made.steps) }));
        if (made.tokens) length.push(say("tokens", { tokens: number(made.tokens) }));
        if (made.seconds) length.push(say("time", { minutes: number(Math.max(1, Math.round(made.seconds / 60))) }));
        if (made.rows && (made.rows.cut || made.rows.dropped)) length.push(say("cut", { cut: number(made.rows.cut), dropped: number(made.rows.dropped) }));
        put(".forecast-length", length.join(" · "));
        put(".forecast-measured", made.measured ? say("measured", { peak: gigabytes(made.measured.peak), total: gigabytes(made.measured.forecast || made.total), speed: number(Math.round(made.measured.tokens_per_second)) }) : "");
        find("#forecast-fit").hidden = fits;
        if (fits) find(".forecast-fit").hidden = true;
      };

      const bar = (made) => {
        const parts = PART_ORDER.filter((name) => made.parts[name] > 0);
        const whole = Math.max(made.total, place.free);
        const share = (bytes) => (100 * bytes / whole).toFixed(2);
        const html = parts.map((name) => `<i class="part-${name}" style="width:${share(made.parts[name])}%" title="${safe(`${say(`parts.${name}`)} ${gigabytes(made.parts[name])}`)}"></i>`).join("") + `<u style="left:${share(place.free)}%"></u>`;
        find(".forecast-bar").innerHTML = html;
        find(".forecast-bar").setAttribute("aria-label", say("of", { total: gigabytes(made.total), free: gigabytes(place.free) }));
        find(".forecast-legend").innerHTML = parts.map((name) => `<li><i class="part-${name}"></i>${safe(say(`parts.${name}`))} <b>${gigabytes(made.parts[name])}</b></li>`).join("");
      };

      // ---- make it fit ----
      const fit = async () => {
        const button = find("#forecast-fit"), shown = find(".forecast-fit");
        button.disabled = true;
        shown.hidden = false;
        shown.textContent = say("fitting");
        const reply = await answered(await ask("forecast.fit", {}), () => true);
        button.disabled = false;
        if (reply.error) { shown.textContent = reply.error; return; }
        const found = reply.answer, sizes = { before: gigabytes(found.before), after: gigabytes(found.after) };
        if (!found.fits) { shown.textContent = say("nothing", sizes); return; }
        shown.innerHTML = `<p>${safe(say("proposal", sizes))}</p><dl>${found.changes.map((one) => `<dt>${safe(one.label)}</dt><dd><s>${safe(String(one.before ?? "–"))}</s> → <b>${safe(String(one.after))}</b></dd>`).join("")}</dl><button type="button" id="forecast-apply">${safe(say("apply"))}</button>`;
        find("#forecast-apply").addEventListener("click", () => {
          shown.hidden = true;
          context.put(Object.fromEntries(found.changes.map((one) => [one.key, one.after])));
        });
      };

      // ---- measure ----
      const measure = async () => {
        const button = find("#forecast-measure");
        button.disabled = true;
        const begun = await ask("forecast.measure", {});
        if (begun.error) { put(".forecast-measured", begun.error); button.disabled = false; return; }
        probe = begun.run;
        for (;;) {
          const reply = await ask("forecast.measuring", { run: probe });
          if (reply.error) { put(".forecast-measured", reply.error); break; }
          if (reply.ended && reply.cause) { put(".forecast-measured", reply.cause); break; }
          if (reply.ended) { asked = ""; await estimate(); break; }
          put(".forecast-measured", say(reply.state === "queued" ? "waiting" : "measuring", { phase: reply.phase || reply.state, step: reply.step, total: reply.total }));
          await later(PAUSE);
        }
        probe = null;
        button.disabled = false;
      };
      find("#forecast-fit").addEventListener("click", fit);
      find("#forecast-measure").addEventListener("click", measure);

      return {
        changed(state) {
          find("#forecast-measure").disabled = state.blocked || Boolean(probe);
          if (!state.valid || state.blocked || state.command === asked) return;
          asked = state.command;
          estimate();
        },
      };
    },
  };
})();
