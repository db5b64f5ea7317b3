// A task for a schedule: it reports on the day before its tick, not on "yesterday", so that a run that starts late, was
// missed, or is a backfill reports on the day that was meant.
//
//   sequential-runner schedules set report --task daily-report --cron "0 6 * * *" --tz Europe/Berlin \
//     --input-with-tick --input '{"team": "sales"}'

module.exports = async function dailyReport(given) {
  const { tick, input = {} } = given;
  const moment = tick ? new Date(tick) : new Date();
  const day = new Date(moment.getTime() - 24 * 3600 * 1000).toISOString().slice(0, 10);
  const { orders } = await services.echo.echo({ day, team: input.team ?? "all", orders: 3 });
  return { day, team: input.team ?? "all", orders };
};
