// What people and programs see of a run: a line of progress on a terminal, plain lines elsewhere, and a table at the end.
const BAR = 24;
const PLAIN_EVERY_MS = 30_000;

const clockTime = (ms) => `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;

/** Reports to `out`; with a line that is written over again if it is a terminal. */
export function reporter({ store, seed, seconds, out = process.stdout }) {
  let world;
  let lastPlain = -Infinity;
  const terminal = Boolean(out.isTTY);
  const show = (elapsed) => {
    const share = Math.min(1, elapsed / (seconds * 1000));
    const bar = "#".repeat(Math.round(share * BAR)).padEnd(BAR, ".");
    const { faults } = world.counts;
    const most = Object.entries(faults.toJSON()).sort(([, a], [, b]) => b - a).slice(0, 5).map(([kind, n]) => `${kind} ${n}`).join(", ");
    return `${store} [${bar}] ${clockTime(elapsed)}/${clockTime(seconds * 1000)}  ${world.clients.numbers.ended} runs, ` +
      `${world.sink.total} calls, ${faults.total()} faults (${most})  seed ${seed}`;
  };
  const clear = () => { if (terminal) out.write("\r\x1b[2K"); };
  return {
    started(opened) {
      world = opened;
      const nodes = `${world.nodes.length} node${world.nodes.length > 1 ? "s" : ""}`;
      out.write(`${store}: ${nodes}, seed ${seed}, ${clockTime(seconds * 1000)} min; data and logs in ${world.dir}\n`);
    },
    tick({ elapsed }) {
      if (terminal) {
        out.write(`\r\x1b[2K${show(elapsed).slice(0, (out.columns ?? 120) - 1)}`);
      } else if (elapsed - lastPlain >= PLAIN_EVERY_MS) {
        lastPlain = elapsed;
        out.write(`${show(elapsed)}\n`);
      }
    },
    checked(line, { elapsed }) {
      clear();
      out.write(`${clockTime(elapsed)}  ${line}\n`);
    },
    clear,
  };
}

const cell = (value, i, width) => (i === 0 ? String(value).padEnd(width) : String(value).padStart(width));
const row = (cells, widths) => `  ${cells.map((value, i) => cell(value, i, widths[i])).join("  ")}`;
function table(head, rows) {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((one) => String(one[i]).length)));
  return [row(head, widths), row(widths.map((width) => "-".repeat(width)), widths), ...rows.map((one) => row(one, widths))].join("\n");
}
const pairs = (counts) => Object.entries(counts).sort(([, a], [, b]) => b - a);
const seconds = (ms) => (ms / 1000).toFixed(2);

/** The whole story of one store. */
export function describeSummary(s) {
  const { resources, quiet_ms: quiet } = s;
  const mib = (bytes) => `${Math.round(bytes / 2 ** 20)} MiB`;
  const parts = [
    `\n${s.store}, seed ${s.seed}: ${clockTime(s.seconds * 1000)} of ${clockTime(s.asked_seconds * 1000)} min` +
      `${s.interrupted ? ", interrupted" : ""}`,
    table(["what", "count"], [
      ["runs", s.runs], ["calls", s.calls], ["log lines", s.log_lines], ["requests at the sink", s.sink_requests],
      ["of those treated badly", s.sink_misbehaved], ["calls delivered more than once (allowed)", s.doubled_deliveries],
      ["late, from a node that had been frozen (allowed)", s.late_deliveries], ["answers lost to clients", s.clients.lostAnswers],
      ["refused for now", s.clients.refused], ["submitted again", s.clients.resubmitted],
      ["submitted once, without a key", s.clients.keyless], ["of those not answered", s.clients.unanswered],
      ["outcomes read meanwhile", s.clients.audits],
      ["hints through the proxy", s.hints_through_the_proxy], ["lives of nodes", s.nodes.map((node) => node.lives).join(" + ")],
      ["checks of all invariants", s.checks], ["hashes of old runs compared", s.hashes_compared],
      ["operations after healing", s.tail_operations],
      ["MiB searched for secrets", Math.round(s.bytes_searched_for_secrets / 2 ** 20)],
    ]),
    table(["fault", "count"], [...pairs(s.faults), ["all", s.faults_total]]),
    table(["crash point", "hit"], pairs(s.crash_points)),
    table(["branch of the recovery", "taken"], pairs(s.branches)),
    table(["from a fault to the next progress, s", "n", "p50", "max"],
      Object.entries(s.recovery_ms).map(([kind, { count, p50, max }]) => [kind, count, seconds(p50), seconds(max)])),
    `  all over after healing: p50 ${seconds(quiet.p50)} s, max ${seconds(quiet.max)} s, limit ${seconds(quiet.limit)} s`,
    `  most seen after healing: ${mib(resources.rss_max)}, ${resources.fds_max} descriptors, ${resources.threads_max} threads` +
      ` (margins over a fresh node: ${mib(resources.margins.rss)}, ${resources.margins.fds}, ${resources.margins.threads})`,
  ];
  if (s.stood_still_ms > 0) parts.push(`  this process stood still for ${seconds(s.stood_still_ms)} s, which count for no deadline`);
  return parts.join("\n\n");
}

/** What to say of its end, and the exit code. */
export function verdict(s, { long, repeat }) {
  const kept = `kept: ${s.directory} (nodes' logs, events.jsonl, the database)\nto repeat: ${repeat}\n`;
  if (s.violation) {
    const detail = s.violation.detail === undefined ? "" : `\n${JSON.stringify(s.violation.detail, null, 1).slice(0, 6_000)}`;
    return {
      code: 1,
      text: `\nVIOLATION of ${s.violation.invariant} on ${s.store} at ${clockTime(s.seconds * 1000)}, seed ${s.seed}\n` +
        `${s.violation.message}${detail}\n${kept}`,
    };
  }
  if (s.error) return { code: 1, text: `\nthe rig itself failed on ${s.store}, seed ${s.seed}:\n${s.error}\n${kept}` };
  if (s.interrupted) return { code: 130, text: `\ninterrupted; no violation until then (seed ${s.seed})\n` };
  const missing = s.not_hit.length > 0 ? `not hit: ${s.not_hit.join(", ")}` : "every crash point, fault and branch was hit";
  if (s.not_hit.length > 0 && long) {
    return { code: 3, text: `\nno violation, but this run does not count (I13): ${missing}\nto repeat: ${repeat}\n` };
  }
  return { code: 0, text: `\nno violation in ${clockTime(s.seconds * 1000)} min on ${s.store} (seed ${s.seed}); ${missing}\n` };
}
