// What the shapes answer whose meaning here is not Node's: the clock stands still, chance is drawn from the run's own seed,
// nothing is collected, host calls fail with errors of ours, and console, unhandled rejections and default locales are our own.
const MISSED = "Unhandled promise rejection:";
const LINES = Array.from({ length: 30 }, (_, i) => ["debug", `line ${i}`]);
const ABC = [0, 1, 2].flatMap((i) => [
  ["info", `  turn: ${i + 1}`], ["info", `  before ${i} of three, {"i":${i}}`],
  ["warn", `  after ${i} [ ${i}, { deep: { deeper: [Object] } } ] Map(1) { ${i} => Set(1) { ${i} } }`],
]);

const results = {
  "weak-references": {
    alive: [0, 1, 2], events: [], unregistered: true, tags: ["[object WeakRef]", "[object FinalizationRegistry]"], same: true,
  },
  "host-errors": {
    seen: [
      ["HostCallError", true, "E_ONE", "echo", "fail"], "failed as E_ONE", 418, [{ reason: "E_ONE" }], "cleanup",
      ["wrapped", "HostCallError", true, 404, "echo", "fail"], ["HostCallError", true, "service_unavailable", "http", "fetch"], [],
      ["HostCallError", true, "unknown_method", "http", "nothing"], "in catch",
    ],
    misused: "TypeError",
  },
  dates: {
    still: [true, true, true, true], forward: true, slept: true, started: true, when: ["2024-03-01T12:00:00.000Z", 0, true, null],
    type: [true, "[object Date]", 7, true],
  },
  chance: { all: 4, distinct: 8, faces: [1, 2, 3, 4, 5, 6], inRange: true, version: true, letters: "abcdefgh" },
  unhandled: { name: "RangeError", ended: true },
  consoles: "logged",
  "intl-defaults": {
    locale: ["en-US", "UTC", "en-US"], text: ["7/4/2024", "1,234,567.5", "Jul 4", "50%"], zone: [0, "2024-07-04T05:06:07.000Z", 5, true],
    now: [true, true], sorted: ["a", "A", "b", "B"], tag: "[object Intl]",
  },
  "es-module": {
    steps: [true, "object", 0, "hoisted changed late", "ReferenceError"], changing: "changed", doubled: 42, line: 14, name: "main",
  },
};
const logs = {
  unhandled: [
    ["info", "begins"],
    ["warn", `${MISSED} Error: nobody handles this\n    at module.exports (unhandled.js:4:18)`],
    ["warn", `${MISSED} RangeError: handled after a call\n    at module.exports (unhandled.js:5:31)`],
    ["warn", `${MISSED} Error: in a function that nobody waits for\n    at unhandled.js:12:13`],
    ["warn", "Uncaught exception in an event listener: Error: in a listener\n    at EventTarget.<anonymous> (unhandled.js:17:46)\n"
      + "    at module.exports (unhandled.js:19:10)"],
    ["info", "the next listener"],
    ["warn", "Uncaught exception in a microtask: TypeError: in a microtask\n    at unhandled.js:15:32"],
    ["warn", "Uncaught exception in a timer: Error: in a timer\n    at unhandled.js:20:70"],
    ["info", "ends"],
  ],
  consoles: [
    ["info", "group"], ...ABC, ["info", "turn: 1"], ["error", "Assertion failed: sums are wrong"],
    ["error", "Error: shown undefined null -0 1n Symbol(s) [Function (anonymous)] [class A]"], ...LINES, ["info", ""],
    ["info", "multi\nline %s stays 100% { text: \"it's\", list: [ undefined, undefined, undefined ] }"],
  ],
};

export const LITERALS = Object.fromEntries(Object.entries(results)
  .map(([name, result]) => [name, { result: JSON.stringify(result), logs: logs[name] ?? [] }]));
