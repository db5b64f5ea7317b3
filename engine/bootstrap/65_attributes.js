// Part 8b: attributes, by which people find the run. They travel as entries of the log, so a replay
// drops those that the journal already has; console cannot write that level.

const attributes_max = 32;
const attribute_name_max = 64;
const attribute_value_max = 256;
const attributes_text_max = 2048;  // of one call
const attributeNames = new NativeMap();

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
      if (kind === 'string' && value.length > attribute_value_max) {
        throw new NativeRangeError(
            `the attribute ${name} is longer than ${attribute_value_max} characters`);
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
      throw new NativeRangeError(`a run has at most ${attributes_max} attributes`);
    }
    const text = stringify(set);
    if (text.length > attributes_text_max) {
      throw new NativeRangeError(
          `attributes set at once are at most ${attributes_text_max} characters of JSON`);
    }
    for (let i = 0; i < names.length; i++) {
      if (set[names[i]] === null) mapDelete(attributeNames, names[i]);
      else mapSet(attributeNames, names[i], true);
    }
    if (names.length > 0) emitLog('attributes', text);
  },
}.setAttributes);
