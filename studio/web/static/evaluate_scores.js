// The scores: one line for each model under each score, with the 95 % interval drawn beside the numbers and, in words,
// whether the model differs from the first one. While there are none yet: who has answered how much, and the answers as they come.
(() => {
  const say = studio.say, safe = studio.escape;
  const WIDTH = 240, HEIGHT = 18;

  // A bar from zero to the value and the interval across its end, on an axis that all models of a score share.
  const whisker = (one, low, high, kind) => {
    if (one.value === null) return "";
    const at = (value) => Math.max(0, Math.min(WIDTH, ((value - low) / (high - low || 1)) * WIDTH)).toFixed(1);
    const ends = one.low !== null && one.high !== null ? `<path class="whisker" d="M${at(one.low)} 5V13M${at(one.low)} 9H${at(one.high)}M${at(one.high)} 5V13"/>` : "";
    const from = at(0), to = at(one.value);
    return `<svg class="ev-bar ${kind}" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true"><rect x="${Math.min(from, to)}" y="4" width="${Math.abs(to - from).toFixed(1)}" height="10"/>${ends}</svg>`;
  };

  studio.evaluateScores = (box, run, page) => {
    const { place } = page;
    let html = "";

    const setName = (name) => (name === "*" ? say("page.evaluate.all_sets") : name);
    const cells = (found, set) => {
      const by = {};
      for (const one of found.scores) if (one.dataset === set) (by[one.score] ||= {})[one.candidate] = one;
      return by;
    };
    const compared = (found, set, score, name, first) => found.comparisons.find((one) => one.dataset === set && one.score === score && ((one.first === name && one.second === first) || (one.first === first && one.second === name)));
    // In words, with a sign whose shape tells it too; the difference always counts from the first model to this one.
    const verdict = (found, one, name, first) => {
      if (!one) return "";
      const turn = one.first === name ? 1 : -1;
      const values = { difference: studio.signed(turn * one.difference), low: studio.figure(turn > 0 ? one.low : -one.high), high: studio.figure(turn > 0 ? one.high : -one.low) };
      const kind = !one.beyond ? "within" : one.better === name ? "better" : "worse";
      return `<span class="ev-verdict ${kind}"><i aria-hidden="true">${{ within: "≈", better: "▲", worse: "▼" }[kind]}</i> ${safe(say(`page.evaluate.verdict.${kind}`))} <small>${safe(say("page.evaluate.difference", values))}</small></span>`;
    };

    const scoreTable = (found, set) => {
      const by = cells(found, set), first = found.candidates[0];
      const bodies = Object.keys(found.higher).filter((score) => by[score]).map((score) => {
        const own = found.candidates.filter((name) => by[score][name]).map((name) => [name, by[score][name]]);
        const values = own.flatMap(([, one]) => [one.value, one.low, one.high]).filter((value) => value !== null);
        const low = Math.min(0, ...values), high = Math.max(...values, 0);
        const known = own.filter(([, one]) => one.value !== null);
        const best = known.length > 1 ? known.reduce((a, b) => ((found.higher[score] ? b[1].value > a[1].value : b[1].value < a[1].value) ? b : a))[0] : null;
        const lines = own.map(([name, one], at) => `<tr class="${name === best ? "best" : ""}">
          ${at ? "" : `<th rowspan="${own.length}" scope="rowgroup"><b>${safe(studio.scoreName(score))}</b><small>${safe(studio.scoreWhy(score))} ${safe(say(found.higher[score] ? "page.evaluate.higher" : "page.evaluate.lower"))}</small></th>`}
          <td class="who">${safe(studio.candidate(name))}</td><td class="value">${safe(studio.figure(one.value))}</td>
          <td class="interval">${one.low === null ? "" : safe(say("page.evaluate.interval", { low: studio.figure(one.low), high: studio.figure(one.high) }))}</td>
          <td class="drawn-bar">${whisker(one, low, high, name === first && name === "base" ? "first" : "")}</td>
          <td class="against">${name === first ? `<span class="rows">${safe(say("page.evaluate.rows_count", { count: one.rows }))}</span>` : verdict(found, compared(found, set, score, name, first), name, first)}</td></tr>`);
        return `<tbody data-score="${safe(score)}">${lines.join("")}</tbody>`;
      });
      return `<table class="ev-table"><thead><tr>${["score_head", "model", "value", "interval_head", "", "against"].map((key) => `<th>${key ? safe(say(`page.evaluate.${key}`, { first: studio.candidate(first) })) : ""}</th>`).join("")}</tr></thead>${bodies.join("")}</table>`;
    };
    const pairs = (found, set) => {
      const own = found.comparisons.filter((one) => one.dataset === set && ![one.first, one.second].includes(found.candidates[0]));
      if (!own.length) return "";
      const lines = own.map((one) => `<tr><td>${safe(studio.scoreName(one.score))}</td><td>${safe(say("page.evaluate.pair", { first: studio.candidate(one.first), second: studio.candidate(one.second) }))}</td><td>${verdict(found, one, one.first, one.second)}</td></tr>`);
      return `<details class="ev-more"><summary>${safe(say("page.evaluate.pairs", { count: own.length }))}</summary><table class="ev-plain">${lines.join("")}</table></details>`;
    };
    const judge = (found) => found.verdicts.length ? `<h3>${safe(say("page.evaluate.judge"))}</h3><table class="ev-plain">${found.verdicts.map((one) => `<tr><td>${safe(say("page.evaluate.judged", { first: studio.candidate(one.first), second: studio.candidate(one.second), wins: one.wins, losses: one.losses, ties: one.ties }))}</td><td class="value">${studio.figure(one.share)} %</td><td class="interval">${safe(say("page.evaluate.interval", { low: studio.figure(one.low), high: studio.figure(one.high) }))}</td>
        <td>${safe(say(one.low > 50 ? "page.evaluate.judge_first" : one.high < 50 ? "page.evaluate.judge_second" : "page.evaluate.judge_even", { first: studio.candidate(one.first), second: studio.candidate(one.second) }))}${one.unread ? ` <small>${safe(say("page.evaluate.unread", { count: one.unread }))}</small>` : ""}</td></tr>`).join("")}</table>` : "";
    const benchmarks = (found) => found.benchmarks.length ? `<h3>${safe(say("page.evaluate.benchmarks"))}</h3><table class="ev-plain">${found.benchmarks.map((one) => `<tr><td>${safe(one.task)}</td><td>${safe(one.metric)}</td><td>${safe(studio.candidate(String(one.candidate)))}</td><td class="value">${safe(typeof one.value === "number" ? studio.short(one.value) : String(one.value))}${typeof one.error === "number" ? ` ± ${studio.short(one.error)}` : ""}</td></tr>`).join("")}</table>` : "";
    const speeds = (found) => {
      const own = found.candidates.filter((name) => found.speeds[name]?.seconds > 0);
      return own.length ? `<h3>${safe(say("page.evaluate.speed"))}</h3><table class="ev-plain">${own.map((name) => { const one = found.speeds[name]; return `<tr><td>${safe(studio.candidate(name))}</td><td>${safe(say("page.evaluate.speed_says", { rows: one.rows, tokens: studio.short(one.tokens), rate: studio.short(one.tokens / one.seconds), pace: studio.short(one.rows / one.seconds) }))}</td></tr>`; }).join("")}</table>` : "";
    };

    const live = (head) => {
      const names = [...new Set([...head.about.candidates, ...Object.keys(head.counts)])];
      const most = Math.max(1, head.rows, ...Object.values(head.counts));
      const lines = head.about.writes ? names.map((name) => `<li><span>${safe(studio.candidate(name))}</span><span class="ev-share"><span style="width:${(100 * (head.counts[name] || 0)) / most}%"></span></span><span class="count">${safe(say("page.evaluate.answered", { count: head.counts[name] || 0 }))}</span></li>`).join("") : "";
      const latest = head.latest.map((one) => `<li><p class="from">${safe(studio.candidate(one.candidate))} · ${safe(one.dataset)} · ${one.row}</p><p class="asked">${safe(one.prompt)}</p><p class="said-so">${safe(one.answer)}</p></li>`).join("");
      return `<ul class="ev-candidates">${lines}</ul>${latest ? `<h3>${safe(say("page.evaluate.latest"))}</h3><ul class="ev-latest">${latest}</ul>` : ""}`;
    };
    const whole = () => {
      const { head, results: found } = run;
      if (!found) return head.active ? live(head) : `<p class="ev-hint">${safe(say(head.state === "queued" ? "page.evaluate.waits" : "page.evaluate.no_scores"))}</p>`;
      const set = found.sets.includes(place.set) ? place.set : found.sets[0];
      const choice = found.sets.length > 1 ? `<div class="ev-sets" role="group" aria-label="${safe(say("page.evaluate.dataset"))}">${found.sets.map((name) => `<button data-set="${safe(name)}" aria-pressed="${name === set}" class="${name === set ? "chosen" : ""}">${safe(setName(name))}</button>`).join("")}</div>` : "";
      return `${head.active ? live(head) : ""}${choice}${found.scores.length ? scoreTable(found, set) : ""}${found.scores.length ? `<p class="ev-hint">${safe(say("page.evaluate.how"))}</p>` : ""}${pairs(found, set)}${judge(found)}${benchmarks(found)}${speeds(found)}`;
    };
    box.addEventListener("click", (event) => {
      const set = event.target.closest("[data-set]")?.dataset.set;
      if (set) { page.go({ set: set === run.results.sets[0] ? null : set }, false); box.querySelector(`[data-set="${CSS.escape(set)}"]`)?.focus(); }
    });
    return {
      moved: () => {
        const now = whole();
        if (now === html) return;
        html = now;
        const open = [...box.querySelectorAll("details")].map((one) => one.open);
        box.innerHTML = now;
        box.querySelectorAll("details").forEach((one, at) => { one.open = Boolean(open[at]); });
      },
    };
  };
})();
