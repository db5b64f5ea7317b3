// Part 8: console. Every entry has a number; C++ drops those that the journal already has.

let logs = 0;               // entries so far
let turn_logs = 0;          // entries of this turn
let log_entries_max = 1000;
let log_message_bytes_max = 8192;
let groupIndent = '';

function startTurn() {
  turn_logs = 0;
}
function emitLog(level, message) {
  if (turn_logs > log_entries_max) return;
  turn_logs++;
  logs++;
  if (turn_logs > log_entries_max) {
    $.log(logs, 'warn', 'more console output of this turn is dropped ' +
        `(limits.log_entries_per_slice is ${log_entries_max})`);
    return;
  }
  $.log(logs, level, message);
}
function logUncaught(what, error) {
  emitLog('warn', `${what} ${printable(error)}`);
}

function toNumberText(value, convert) {
  if (typeof value === 'bigint') return `${bigintToString(value)}n`;
  if (typeof value === 'symbol') return 'NaN';
  if (isObject(value)) return 'NaN';
  return numberToString(convert(+value));
}
function formatDirective(letter, value) {
  switch (letter) {
    case 's':
      if (typeof value === 'bigint') return `${bigintToString(value)}n`;
      if (is(value, -0)) return '-0';
      return isObject(value) ? inspectOne(value)
          : typeof value === 'symbol' ? symbolToString(value) : `${value}`;
    case 'd': return toNumberText(value, (n) => n);
    case 'i': return toNumberText(value, trunc);
    case 'f': return isObject(value) || typeof value === 'symbol' ? 'NaN' : numberToString(+value);
    case 'j':
      try {
        return stringify(value) ?? 'undefined';
      } catch {
        return '[Circular]';
      }
    case 'o':
    case 'O': return inspectOne(value);
    case 'c': return '';
    default: return undefined;
  }
}

// `args` is an array of ours.
function formatMessage(args) {
  let text = '';
  let next = 0;
  if (args.length > 0 && typeof args[0] === 'string') {
    const format = args[0];
    next = 1;
    let from = 0;
    for (;;) {
      const at = stringIndexOf(format, '%', from);
      if (at < 0 || at + 1 >= format.length) break;
      const letter = format[at + 1];
      let replaced;
      if (letter === '%') {
        replaced = args.length > 1 ? '%' : '%%';
      } else if (next < args.length) {
        replaced = formatDirective(letter, args[next]);
        if (replaced !== undefined) next++;
      }
      text = `${text}${stringSlice(format, from, at)}${replaced ?? `%${letter}`}`;
      from = at + 2;
    }
    text = `${text}${stringSlice(format, from)}`;
  }
  for (; next < args.length; next++) {
    const value = args[next];
    const piece = typeof value === 'string' ? value : inspectOne(value);
    text = next === 0 ? piece : `${text} ${piece}`;
    if (text.length > 4 * inspect_characters_max) break;
  }
  return text;
}

function write(level, args) {
  const text = formatMessage(args);
  emitLog(level, groupIndent === '' ? text : `${groupIndent}${text}`);
}

const consoleObject = {};
const counts = new NativeMap();
const stopwatches = new NativeMap();
const group_indent_max = 40;

const consoleMethods = {
  debug(...args) { write('debug', args); },
  log(...args) { write('info', args); },
  info(...args) { write('info', args); },
  warn(...args) { write('warn', args); },
  error(...args) { write('error', args); },
  dir(value) { write('info', [inspectOne(value)]); },
  table(...args) { write('info', args); },
  trace(...args) {
    const site = { stack: undefined };
    captureStackTrace(site, consoleMethods.trace);
    emitLog('debug', `${groupIndent}Trace: ${formatMessage(args)}${siteFrames(site)}`);
  },
  assert(condition, ...args) {
    if (condition) return;
    const text = formatMessage(args);
    emitLog('error', text === '' ? 'Assertion failed' : `Assertion failed: ${text}`);
  },
  group(...args) {
    if (args.length > 0) write('info', args);
    if (groupIndent.length < group_indent_max) groupIndent = `${groupIndent}  `;
  },
  groupEnd() { groupIndent = stringSlice(groupIndent, 2); },
  count(label = 'default') {
    const n = (mapGet(counts, `${label}`) ?? 0) + 1;
    mapSet(counts, `${label}`, n);
    write('info', [`${label}: ${n}`]);
  },
  countReset(label = 'default') { mapDelete(counts, `${label}`); },
  time(label = 'default') { mapSet(stopwatches, `${label}`, now); },
  timeLog(label = 'default', ...args) {
    const from = mapGet(stopwatches, `${label}`);
    if (from === undefined) return;
    const rest = args.length === 0 ? '' : ` ${formatMessage(args)}`;
    emitLog('info', `${groupIndent}${label}: ${now - from}ms${rest}`);
  },
  timeEnd(label = 'default') {
    consoleMethods.timeLog(label);
    mapDelete(stopwatches, `${label}`);
  },
};
consoleMethods.groupCollapsed = consoleMethods.group;
{
  const names = ownKeys(consoleMethods);
  for (let i = 0; i < names.length; i++) {
    defineProperty(consoleObject, names[i], {
      __proto__: null, value: consoleMethods[names[i]], writable: true, enumerable: true,
      configurable: true,
    });
  }
  tag(consoleObject, 'console');
  define(globalObject, 'console', consoleObject);
}
