// Where the model learns from points: what they would be for the first rows of the chosen datasets, before anything starts.
(() => {
  const PAUSE = 300;
  const number = (value) => value === null || value === undefined ? "–" : String(Math.round(value * 1000) / 1000);

  studio.trainPanels.rewards = {
    order: 30,
    shown: (state) => state.online,
    draw(element, context) {
      const say = (key, values) => context.say(`page.rewards.${key}`, values), safe = context.safe;
      element.innerHTML = `<h4>${safe(say("title"))}</h4><p class="muted">${safe(say("why"))}</p>
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
        const heads = ["answer_of", "answer"].map((key) => `<th>${safe(say(key))}</th>`).join("");
        const labels = rewards.map((reward) => `<th class="number">${safe(reward.label)}</th>`).join("");
        const rows = report.rows.map((row) => `<tr title="${safe(row.where)}"><td>${safe(say(`source.${row.source}`))}</td>
          <td class="words"><span class="asked">${safe(row.prompt)}</span>${safe(row.answer)}</td>${rewards.map((reward) => `<td class="number">${number(row.points[reward.label])}</td>`).join("")}
          <td class="number">${number(row.total)}</td></tr>`).join("");
        const table = `<div class="scroll"><table><thead><tr>${heads}${labels}<th class="number">${safe(say("total"))}</th></tr></thead><tbody>${rows}</tbody></table></div>`;
        return failed.join("") + warned.join("") + sound + (report.rows.length ? table : "");
      };
      return { changed() {} };
    },
  };
})();
