// One run: what it is doing, its buttons, and its views (charts, samples, answers, log, config, files).
(() => {
  const say = studio.say, safe = studio.escape;
  const VIEWS = ["charts", "samples", "answers", "log", "config", "files"];

  studio.runDetail = (host, act) => {
    const find = (selector) => host.querySelector(selector);
    host.innerHTML = `<p class="choose">${safe(say("page.runs.choose"))}</p><div class="one" hidden>
      <header><h2></h2><span class="badge"></span><span class="phase"></span></header>
      <div class="progress" role="progressbar" aria-valuemin="0"><div></div></div>
      <div class="actions"></div><div class="dialog" hidden></div>
      <div class="trouble" hidden></div><ul class="findings"></ul><ul class="run-notices"></ul>
      <nav role="tablist">${VIEWS.map((view) => `<button role="tab" data-view="${view}">${safe(say(`page.runs.views.${view}`))}</button>`).join("")}</nav>
      <div class="view"></div></div>`;
    const api = { name: null, version: null, status: null };
    let view = null, panel = null;

    const openView = (name) => {
      view = VIEWS.includes(name) ? name : "charts";
      for (const button of host.querySelectorAll("[data-view]")) {
        button.classList.toggle("chosen", button.dataset.view === view);
        button.setAttribute("aria-selected", button.dataset.view === view);
      }
      const box = find(".view");
      box.textContent = "";
      panel = studio.runViews[view](box, api);
    };
    find("nav").addEventListener("click", (event) => {
      const name = event.target.dataset.view;
      if (name) { studio.address({ view: name === "charts" ? null : name }); openView(name); }
    });

    api.open = (name) => {
      Object.assign(api, { name, version: null, status: null });
      find(".choose").hidden = Boolean(name);
      find(".one").hidden = true;
      find(".dialog").hidden = true;
      if (name) openView(studio.parameter("view"));
    };
    api.wants = () => (api.name ? { version: api.version, view, ...(panel?.wants() || {}) } : {});
    api.set = (reply) => {
      if (reply.detail) { reply.detail.ahead = reply.detail.clock - Date.now() / 1000; api.version = reply.detail.version; api.status = reply.detail; drawHead(reply.detail); }
      if (api.status) drawProgress(api.status);
      if (reply.panel) panel.set(reply.panel);
      if (reply.missing) { find(".choose").hidden = false; find(".choose").textContent = reply.missing; find(".one").hidden = true; }
    };

    const drawHead = (run) => {
      find(".one").hidden = false;
      find(".choose").hidden = true;
      find("h2").textContent = run.name;
      find(".badge").innerHTML = studio.stateBadge(run);
      find(".run-notices").innerHTML = [...run.notices, ...run.events.map(eventText)].map((text) => `<li>${safe(text)}</li>`).join("");
      drawFindings(run);
      find("[data-view=answers]").hidden = !run.answers;  // only runs that learn from points have such answers
      const trouble = find(".trouble");
      trouble.hidden = !run.cause;
      trouble.className = `trouble ${run.state}`;
      trouble.innerHTML = run.cause ? `<h3>${safe(say("page.runs.cause"))}</h3><p>${safe(run.cause)}</p>${run.advice ? `<h3>${safe(say("page.runs.advice"))}</h3><p>${safe(run.advice)}</p>` : ""}` : "";
      const buttons = run.actions.map((action) => `<button data-action="${action}" class="${action === "remove" || action === "kill" ? "danger" : ""}">${safe(say(`page.runs.actions.${action}`))}</button>`).join("");
      if (find(".actions").innerHTML !== buttons) find(".actions").innerHTML = buttons;
    };
    // What the numbers say. A finding shows its step in the charts; the changes with which to try again go into the form.
    const drawFindings = (run) => {
      const rows = run.findings.map((one) => `<li class="${one.severity}"><span class="mark" aria-hidden="true"></span><p>${safe(one.text)}</p>
        ${one.step ? `<button data-chart="${safe(one.chart)}">${safe(say("page.runs.step"))} ${one.step}</button>` : ""}</li>`);
      if (run.remedy) rows.push(`<li class="remedy"><span class="mark" aria-hidden="true"></span><p>${safe(say("page.runs.remedy", { changes: run.remedy.text }))}</p><button data-remedy class="yes">${safe(say("page.runs.retry_so"))}</button></li>`);
      if (find(".findings").innerHTML !== rows.join("")) find(".findings").innerHTML = rows.join("");
      studio.markedSteps = run.findings.filter((one) => one.step).map((one) => ({ step: one.step, severity: one.severity, chart: one.chart }));
      for (const chart of host.querySelectorAll(".chart")) chart.redraw?.();
    };
    find(".findings").addEventListener("click", (event) => {
      const { chart } = event.target.dataset;
      if (chart) {
        if (view !== "charts") { studio.address({ view: null }); openView("charts"); }
        (host.querySelector(`[data-figure="${CSS.escape(chart)}"]`) ?? find(".view")).scrollIntoView({ block: "nearest", behavior: "smooth" });
      }
      if ("remedy" in event.target.dataset) { studio.fillForm({ run: api.name, values: api.status.remedy.values }); studio.openTab("train"); }
    });
    const eventText = (event) => say(`page.runs.events.${event.event}`, event);

    const drawProgress = (run) => {
      const share = run.total ? run.step / run.total : 0, bar = find(".progress");
      bar.classList.toggle("unknown", run.active && !run.total);
      bar.hidden = !run.active && !run.total;
      bar.setAttribute("aria-valuemax", run.total || 1);
      bar.setAttribute("aria-valuenow", run.step);
      bar.firstElementChild.style.width = `${(share * 100).toFixed(2)}%`;
      const silent = run.active && run.updated ? Date.now() / 1000 + run.ahead - run.updated : 0;
      const parts = [run.active ? run.message || run.phase : "", run.total ? `${run.step}/${run.total}` : ""];
      if (run.active && run.eta_seconds !== null) parts.push(say("page.runs.left", { time: studio.time(run.eta_seconds) }));
      if (run.state === "queued" && !run.held) parts.push(say("page.runs.position", { position: run.position }));
      if (silent > 10) parts.push(say("page.runs.waiting", { time: studio.time(silent), phase: run.phase }));
      find(".phase").textContent = parts.filter(Boolean).join(" · ");
    };

    // Buttons that ask first: each shows its question in place, with what goes and how big it is.
    const ask = (html, yes) => {
      const box = find(".dialog");
      box.hidden = false;
      box.innerHTML = `${html}<div class="row"><button class="yes"></button><button class="no"></button></div>`;
      box.querySelector(".yes").textContent = yes;
      box.querySelector(".no").textContent = say("page.form.exists_cancel");
      box.querySelector(".no").addEventListener("click", () => { box.hidden = true; });
      return new Promise((resolve) => box.querySelector(".yes").addEventListener("click", () => { box.hidden = true; resolve(box); }));
    };
    const askText = (key) => `<p>${safe(say(key, { name: api.name, size: studio.bytes(api.status.size) }))}</p>`;
    const resumeForm = (run) => {
      const points = run.checkpoints.map((point) => `<option value="${safe(point.name)}" ${point.complete ? "" : "disabled"}>${safe(point.name)}${point.complete ? "" : ` (${safe(say("page.runs.incomplete"))}: ${safe(point.reason)})`}</option>`);
      return `<label>${safe(say("page.runs.resume_from"))} <select name="checkpoint"><option value="">${safe(say("page.runs.newest"))}</option>${points.join("")}<option value="fresh">${safe(say("page.runs.beginning"))}</option></select></label>
        ${run.length ? `<label>${safe(run.length.label)} <input name="length" inputmode="decimal" value="${safe(run.length.value)}"></label>` : ""}`;
    };
    const perform = {
      evaluate: () => studio.openEvaluation(`saves/${api.name}`),
      chat: () => studio.openChat(`saves/${api.name}`),
      export: () => studio.openExport(`saves/${api.name}`),
      remove: async (action) => { await ask(askText("page.runs.confirm_remove"), say("page.runs.actions.remove")); act(action); },
      kill: async (action) => { await ask(askText("page.runs.confirm_kill"), say("page.runs.actions.kill")); act(action); },
      resume: async (action) => {
        if (api.status.state === "queued") return act(action);
        const box = await ask(resumeForm(api.status), say("page.runs.actions.resume"));
        const checkpoint = box.querySelector("[name=checkpoint]").value, length = box.querySelector("[name=length]")?.value;
        if (checkpoint === "fresh") await ask(askText("page.runs.confirm_fresh"), say("page.runs.actions.retry"));
        return act(checkpoint === "fresh" ? "fresh" : action, { checkpoint, length });
      },
    };
    find(".actions").addEventListener("click", (event) => {
      const action = event.target.dataset.action;
      if (action) (perform[action] || act)(action);
    });
    return api;
  };

  studio.runViews = {
    charts: (box, run) => {
      const saved = (name, otherwise) => localStorage.getItem(`studio-${name}`) ?? otherwise;
      box.innerHTML = `<div class="chart-tools"><label>${safe(say("page.runs.charts.smoothing"))} <input type="range" min="0" max="0.99" step="0.01" class="weight"><output></output></label>
        <label><input type="checkbox" class="log"> ${safe(say("page.runs.charts.logarithmic"))}</label>
        <button class="whole">${safe(say("page.runs.charts.whole"))}</button><span class="best"></span></div><div class="charts"></div>`;
      const slider = box.querySelector(".weight"), log = box.querySelector(".log"), charts = new Map();
      let weight = saved("smoothing", null), cursors = {};
      log.checked = saved("logarithmic", "") === "yes";
      const showWeight = (value) => { slider.value = value; box.querySelector("output").textContent = Number(value).toFixed(2); };
      slider.addEventListener("input", () => { weight = slider.value; showWeight(weight); localStorage.setItem("studio-smoothing", weight); forgetSmoothed(); });
      const forgetSmoothed = () => { cursors = Object.fromEntries(Object.entries(cursors).filter(([key]) => !key.includes("~"))); };
      log.addEventListener("change", () => {
        localStorage.setItem("studio-logarithmic", log.checked ? "yes" : "");
        for (const chart of charts.values()) { chart.logarithmic = log.checked && chart.canBeLogarithmic; chart.draw(); }
      });
      box.querySelector(".whole").addEventListener("click", () => { for (const chart of charts.values()) { chart.zoom = null; chart.draw(); } });
      const make = (figure) => {
        const host = document.createElement("div");
        box.querySelector(".charts").append(host);
        const chart = new studio.Chart(host, figure.title, figure.curves.map((curve) => ({ name: curve.name, className: curve.kind })), figure.unit === "bytes" ? studio.bytes : studio.short);
        host.dataset.figure = figure.key;
        chart.canBeLogarithmic = figure.unit !== "bytes";
        chart.logarithmic = log.checked && chart.canBeLogarithmic;
        chart.buckets = figure.curves.map(() => []);
        charts.set(figure.key, chart);
        return chart;
      };
      return {
        wants: () => ({ cursors, weight }),
        set: ({ figures, weight: used, best }) => {
          showWeight(used);
          box.querySelector(".best").textContent = best || "";
          for (const figure of figures) {
            const chart = charts.get(figure.key) || make(figure);
            for (const curve of figure.curves) {
              const index = chart.curves.findIndex((one) => one.className === curve.kind);
              chart.buckets[index].length = curve.from;
              chart.buckets[index].push(...curve.buckets);
              cursors[curve.key] = [curve.generation, chart.buckets[index].length - curve.open, curve.seen];
            }
            chart.set(chart.buckets.map((buckets) => buckets.flat()));
          }
        },
      };
    },
    samples: (box) => {
      box.innerHTML = `<div class="samples"><p class="none">${safe(say("page.runs.samples_none"))}</p></div>`;
      let version = null;
      return {
        wants: () => ({ panel_version: version }),
        set: (panel) => {
          version = panel.version;
          box.firstElementChild.innerHTML = panel.prompts.map((prompt) => `<article><h3>${safe(prompt.prompt)}</h3>${prompt.answers
            .map((answer) => `<p><span class="when">${safe(answer.step ? `${say("page.runs.step")} ${answer.step}` : say("page.runs.samples_before"))}</span>${safe(answer.answer)}</p>`).join("")}</article>`).join("")
            || `<p class="none">${safe(say("page.runs.samples_none"))}</p>`;
        },
      };
    },
    log: (box, run) => {
      box.innerHTML = `<div class="chart-tools"><label><input type="checkbox" checked> ${safe(say("page.runs.log_follow"))}</label></div><pre tabindex="0"></pre>`;
      const text = box.querySelector("pre"), follow = box.querySelector("input");
      let offset = null;
      return {
        wants: () => ({ offset }),
        set: (panel) => {
          if (panel.from !== offset) text.textContent = "";
          offset = panel.offset;
          text.append(panel.text);
          if (follow.checked) text.scrollTop = text.scrollHeight;
        },
      };
    },
    config: (box) => {
      box.innerHTML = `<pre class="command"></pre><pre class="yaml"></pre>`;
      let version = null;
      return {
        wants: () => ({ panel_version: version }),
        set: (panel) => {
          version = panel.version;
          box.querySelector(".command").textContent = panel.command;
          box.querySelector(".yaml").textContent = panel.yaml;
        },
      };
    },
    files: (box) => {
      box.innerHTML = `<table><thead><tr><th>${safe(say("page.runs.files_name"))}</th><th>${safe(say("page.runs.files_size"))}</th></tr></thead><tbody></tbody></table>`;
      let version = null;
      return {
        wants: () => ({ panel_version: version }),
        set: (panel) => {
          version = panel.version;
          box.querySelector("tbody").innerHTML = panel.files.map((file) => `<tr class="${file.complete === false ? "incomplete" : ""}"><td>${safe(file.name)}${file.reason ? ` <em>${safe(file.reason)}</em>` : ""}</td><td>${studio.bytes(file.size)}</td></tr>`).join("");
        },
      };
    },
  };
})();
