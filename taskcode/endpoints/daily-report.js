/**
 * Reports on the day before its tick, not on "yesterday", so that a run that starts late, was missed, or is a backfill
 * reports on the day that was meant. Its schedule hands the tick over (docs/schedules.md):
 * `sequential-runner schedules set report --task daily-report --cron "0 6 * * *" --tz Europe/Berlin --input-with-tick`
 *
 * @param {Object} [input]
 * @param {string} [input.schedule="by hand"] The name of the schedule.
 * @param {string} [input.tick=""] The moment that was meant, in ISO 8601; empty is now.
 * @returns {Promise<{day: string, orders: number, by: string}>} The report.
 */
module.exports = async function dailyReport(input) {
  const { schedule = "by hand", tick = "" } = input ?? {};
  const moment = tick ? new Date(tick) : new Date();
  const day = new Date(moment.getTime() - 24 * 3600 * 1000).toISOString().slice(0, 10);
  const { orders } = await __callHostTool__("echo", ["echo"], [{ day, orders: 3 }]);
  return { day, orders, by: schedule };
};
