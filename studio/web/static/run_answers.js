// The answers that a run wrote while it learnt from their points, the newest steps first: what gets points, and why.
(() => {
  const say = studio.say, safe = studio.escape;
  const SHOWN = ["both", "best", "worst"];
  const points = (value) => value === null || value === undefined ? "–" : String(Math.round(value * 1000) / 1000);
  const worth = (row) => row.reward ?? -Infinity;

  studio.runViews.answers = (box) => {
    box.innerHTML = `<div class="chart-tools run-answer-tools"><div class="segments" role="radiogroup" aria-label="${safe(say("page.runs.answers.show"))}">${SHOWN.map((one) => `<label><input type="radio" name="answers-shown" value="${one}">${safe(say(`page.runs.answers.${one}`))}</label>`).join("")}</div></div>
      <div class="run-answers"></div><p class="none">${safe(say("page.runs.answers.none"))}</p><button class="earlier" hidden>${safe(say("page.runs.answers.earlier"))}</button>`;
    const list = box.querySelector(".run-answers"), earlier = box.querySelector(".earlier"), tools = box.querySelector(".run-answer-tools");
    let has = {}, asked = false, steps = new Map(), shown = localStorage.getItem("studio-answers-shown");
    if (!SHOWN.includes(shown)) shown = "both";

    const answer = (row) => `<li><p class="points"><b>${points(row.reward)}</b>${Object.entries(row.rewards ?? {}).map(([name, value]) => `<span>${safe(name)} ${points(value)}</span>`).join("")}<span class="when">${safe(say("page.runs.answers.tokens", { count: row.tokens }))}</span></p><div class="words">${safe(row.answer)}</div></li>`;
    // Answers to one prompt side by side, the better one first.
    const prompt = (rows) => {
      const ranked = [...rows].sort((one, other) => worth(other) - worth(one));
      const kept = shown === "best" ? ranked.slice(0, 1) : shown === "worst" ? ranked.slice(-1) : ranked;
      return `<article><p class="asked" title="${safe(rows[0].where)}">${safe(rows[0].prompt)}</p><ul>${kept.map(answer).join("")}</ul></article>`;
    };
    const section = (step) => {
      const prompts = new Map();
      for (const row of steps.get(step)) prompts.set(row.where, [...(prompts.get(row.where) ?? []), row]);
      return `<section data-step="${step}"><h3>${safe(say("page.runs.step"))} ${step}</h3>${[...prompts.values()].map(prompt).join("")}</section>`;
    };
    const draw = () => {
      list.innerHTML = [...steps.keys()].sort((one, other) => other - one).map(section).join("");
      box.querySelector(".none").hidden = steps.size > 0;
      tools.hidden = !steps.size;
      earlier.hidden = !has.from;
      earlier.disabled = asked;
      for (const input of tools.querySelectorAll("input")) {
        input.checked = input.value === shown;
        input.parentElement.classList.toggle("chosen", input.checked);
      }
    };
    tools.addEventListener("change", (event) => { shown = event.target.value; localStorage.setItem("studio-answers-shown", shown); draw(); });
    earlier.addEventListener("click", () => { asked = true; earlier.disabled = true; });
    draw();
    return {
      wants: () => ({ ...has, earlier: asked }),
      set: (panel) => {
        if (panel.anew) { has = {}; steps = new Map(); }
        for (const row of panel.rows) steps.set(row.step, [...(steps.get(row.step) ?? []), row]);
        has = { file: panel.file, from: Math.min(has.from ?? panel.from, panel.from), to: Math.max(has.to ?? panel.to, panel.to) };
        asked = false;
        draw();
      },
    };
  };
})();
