// Part 8b: attributes, by which people find the run. They travel as entries of the log, so a replay
// drops those that the journal already has; console cannot write that level.

let attributes_max = 32;
const attribute_name_max = 64;
let attribute_chars_max = 256;
let attributes_chars_max = 2048;  // of one call
const attributeNames = new NativeMap();

// Whether every store can hold it and find it: no NUL, no half of a surrogate pair.
function isPlainText(text) {
  for (let i = 0; i < text.length; i++) {
    const code = charCodeAt(text, i);
    if (code === 0) return false;
    if ((code & 0xf800) !== 0xd800) continue;
    const next = i + 1 < text.length ? charCodeAt(text, i + 1) : 0;
    if (code >= 0xdc00 || (next & 0xfc00) !== 0xdc00) return false;
    i++;
  }
  return true;
}

define(globalObject, 'setAttributes', {
  setAttributes(values) {
    if (!isObject(values) || isArray(values)) {
      throw new NativeTypeError('setAttributes takes an object such as {orders: 12}');
    }
    const names = ownKeys(values);
    const set = { __proto__: null };
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      if (typeof name !== 'string' || regExpExec(/^[A-Za-z0-9_.-]{1,64}$/, name) === null) {
        throw new NativeTypeError(
            `a name of an attribute is 1 to ${attribute_name_max} of A-Z a-z 0-9 _ . -`);
      }
      const value = values[name];
      const kind = typeof value;
      if (value !== null && kind !== 'string' && kind !== 'boolean' &&
          !(kind === 'number' && isFiniteNumber(value))) {
        throw new NativeTypeError(
            `the attribute ${name} must be a string, a finite number, a boolean or null`);
      }
      if (kind === 'string' && value.length > attribute_chars_max) {
        throw new NativeRangeError(
            `the attribute ${name} is longer than ${attribute_chars_max} characters (limits.attribute_chars)`);
      }
      if (kind === 'string' && !isPlainText(value)) {
        throw new NativeTypeError(
            `the attribute ${name} has a NUL character or half of a surrogate pair`);
      }
      defineProperty(set, name, {
        __proto__: null, value, writable: true, enumerable: true, configurable: true,
      });
    }
    let count = mapSize(attributeNames);
    for (let i = 0; i < names.length; i++) {
      const had = mapHas(attributeNames, names[i]);
      if (set[names[i]] === null ? had : !had) count += had ? -1 : 1;
    }
    if (count > attributes_max) {
      throw new NativeRangeError(`a run has at most ${attributes_max} attributes (limits.attributes)`);
    }
    const text = stringify(set);
    if (text.length > attributes_chars_max) {
      throw new NativeRangeError(
          `attributes set at once are at most ${attributes_chars_max} characters of JSON (limits.attributes_chars)`);
    }
    if (typedLength($.utf8Encode(text)) > log_message_bytes_max) {
      throw new NativeRangeError('attributes set at once are at most ' +
          `limits.log_message_bytes = ${log_message_bytes_max} bytes of JSON`);
    }
    if (names.length > 0 && turn_logs >= log_entries_max) {
      throw new NativeRangeError('attributes are entries of the log, of which there are ' +
          `limits.log_entries_per_slice = ${log_entries_max} already`);
    }
    for (let i = 0; i < names.length; i++) {
      if (set[names[i]] === null) mapDelete(attributeNames, names[i]);
      else mapSet(attributeNames, names[i], true);
    }
    if (names.length > 0) emitLog('attributes', text);
  },
}.setAttributes);
