// Where the model learns from points: what they would be for the first rows of the chosen datasets, before anything starts.
(() => {
  const PAUSE = 300;
  const number = (value) => value === null || value === undefined ? "–" : String(Math.round(value * 1000) / 1000);

  studio.trainPanels.rewards = {
    order: 30,
    shown: (state) => state.online,
    draw(element, context) {
      const say = (key, values) => context.say(`page.rewards.${key}`, values), safe = context.safe;
      element.innerHTML = `<h3>${safe(say("title"))}</h3><p class="muted">${safe(say("why"))}</p>
        <div class="train-buttons small"><button type="button" class="try">${safe(say("try"))}</button></div><div class="tried" role="status"></div>`;
      const button = element.querySelector("button"), tried = element.querySelector(".tried");

      button.onclick = async () => {
        button.disabled = true;
        tried.textContent = say("trying");
        let reply = await context.ask("rewards.try");
        while (reply.ticket) {
          await new Promise((done) => setTimeout(done, PAUSE));
          reply = await context.ask("rewards.poll", { ticket: reply.ticket });
        }
        button.disabled = false;
        if (reply.error) tried.innerHTML = `<p class="bad">${safe(reply.error)}</p>`;
        else tried.innerHTML = drawn(reply.report);
      };

      const drawn = (report) => {
        const rewards = report.rewards.filter((reward) => !reward.error);
        const failed = report.rewards.filter((reward) => reward.error).map((reward) => `<p class="bad">${safe(reward.error)}</p>`);
        const warned = report.warnings.map(({ code, ...values }) => `<p class="warn">${safe(say(`warning.${code}`, values))}</p>`);
        const sound = failed.length || warned.length ? "" : `<p class="good">${safe(say("sound"))}</p>`;
        const sources = [...new Set(report.rows.map((row) => row.source))];
        const heads = sources.map((source) => `<th class="number">${safe(say(`source.${source}`))}</th>`).join("");
        const means = rewards.map((reward) => `<tr><th>${safe(reward.label)}</th>${sources.map((source) => `<td class="number">${number(reward[source])}</td>`).join("")}</tr>`).join("");
        const table = `<table><thead><tr><th>${safe(say("answer_of"))}</th>${heads}</tr></thead><tbody>${means}</tbody></table>`;
        const prompts = new Map();
        for (const row of report.rows) prompts.set(row.where, [...(prompts.get(row.where) ?? []), row]);
        const single = (row) => rewards.length < 2 ? "" : `<span>${rewards.map((reward) => `${safe(reward.label)} ${number(row.points[reward.label])}`).join(" · ")}</span>`;
        const given = (row) => `<li><p class="points"><b title="${safe(say("total"))}">${number(row.total)}</b><span>${safe(say(`source.${row.source}`))}</span>${single(row)}</p><p class="words">${safe(row.answer)}</p></li>`;
        const cards = [...prompts].map(([where, rows]) => `<article title="${safe(where)}"><p class="asked">${safe(rows[0].prompt)}</p><ul>${rows.map(given).join("")}</ul></article>`).join("");
        return failed.join("") + warned.join("") + sound + (report.rows.length ? `${table}<div class="tried-rows">${cards}</div>` : "");
      };
      return { changed() {} };
    },
  };
})();
