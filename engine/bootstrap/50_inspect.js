// Part 7: values as readable text, much as Node's util.inspect writes them by default. Calls no
// getter, toJSON or proxy trap of the task; bounded in depth, breadth and length.

const inspect_depth_max = 2;
const inspect_items_max = 100;
const inspect_characters_max = 16384;
const inspect_line_max = 72;
const inspect_packed_min = 6;        // lists longer than this are packed
const inspect_packed_item_max = 16;  // if their items are short

// What $.kind answers (natives.cpp has the same list).
const kindOther = 0;
const kindProxy = 1;
const kindArray = 2;
const kindFunction = 3;
const kindError = 4;
const kindDate = 5;
const kindRegExp = 6;
const kindMap = 7;
const kindSet = 8;
const kindPromise = 9;
const kindArrayBuffer = 10;
const kindTypedArray = 11;
const kindDataView = 12;
const kindWeakCollection = 13;
const kindBoxed = 14;
const kindGenerator = 15;

const promisePending = 0;  // what $.promiseState answers: [state, result]
const promiseRejected = 2;

function escapeCharacter(code) {
  switch (code) {
    case 8: return '\\b';
    case 9: return '\\t';
    case 10: return '\\n';
    case 11: return '\\v';
    case 12: return '\\f';
    case 13: return '\\r';
    case 39: return "\\'";
    case 92: return '\\\\';
    default: return `\\x${stringToUpperCase(hexBytes[code])}`;
  }
}
// The first of ' " ` that does not stand in the text; it needs no escapes then.
function quoteMark(text) {
  if (stringIndexOf(text, "'") < 0) return "'";
  if (stringIndexOf(text, '"') < 0) return '"';
  return stringIndexOf(text, '`') < 0 && stringIndexOf(text, '${') < 0 ? '`' : "'";
}
// By hand: the RegExp methods look `exec` up on a prototype that the task can change.
function quote(text) {
  const length = min(text.length, inspect_characters_max);
  const mark = quoteMark(text);
  let out = mark;
  let from = 0;
  for (let i = 0; i < length; i++) {
    const code = charCodeAt(text, i);
    const plain = code >= 32 && code !== 92 && code !== 127 && (code !== 39 || mark !== "'");
    if (plain) continue;
    out = `${out}${stringSlice(text, from, i)}${escapeCharacter(code)}`;
    from = i + 1;
  }
  out = `${out}${stringSlice(text, from, length)}${mark}`;
  return length < text.length ? `${out}... ${text.length - length} more characters` : out;
}
function isIdentifier(text) {
  if (text.length === 0 || text.length > 256) return false;
  for (let i = 0; i < text.length; i++) {
    const c = charCodeAt(text, i);
    const letter = (c >= 65 && c <= 90) || (c >= 97 && c <= 122) || c === 95 || c === 36;
    if (!letter && !(i > 0 && c >= 48 && c <= 57)) return false;
  }
  return true;
}
function formatKey(key) {
  if (typeof key === 'symbol') return `[${symbolToString(key)}]`;
  return isIdentifier(key) ? key : quote(key);
}
function formatPrimitive(value) {
  switch (typeof value) {
    case 'string': return quote(value);
    case 'number': return is(value, -0) ? '-0' : numberToString(value);
    case 'bigint': return `${bigintToString(value)}n`;
    case 'symbol': return symbolToString(value);
    case 'boolean': return value ? 'true' : 'false';
    default: return value === null ? 'null' : 'undefined';
  }
}

// The name of the nearest constructor on the prototype chain, by data properties alone; null if
// there is none.
function constructorName(value) {
  let object = value;
  for (let i = 0; i < 100 && object !== null && $.kind(object) !== kindProxy; i++) {
    const f = getDescriptor(object, 'constructor')?.value;
    if (typeof f === 'function' && $.kind(f) !== kindProxy) {
      const name = getDescriptor(f, 'name')?.value;
      if (typeof name === 'string' && name !== '') return name;
    }
    object = getPrototype(object);
  }
  return null;
}
function isIndexKey(key) {
  if (typeof key !== 'string' || key.length > 10) return false;
  const c = charCodeAt(key, 0);
  return c >= 48 && c <= 57;
}
function indent(text) {
  let out = '';
  let from = 0;
  for (;;) {
    const at = stringIndexOf(text, '\n', from);
    if (at < 0) return `${out}${stringSlice(text, from)}`;
    out = `${out}${stringSlice(text, from, at + 1)}  `;
    from = at + 1;
  }
}
function joinItems(head, open, close, items) {
  const lead = head === '' ? open : `${head} ${open}`;
  if (items.length === 0) return `${lead}${close}`;
  let length = lead.length + 2;
  let lines = false;
  for (let i = 0; i < items.length; i++) {
    length += items[i].length + 2;
    lines = lines || stringIndexOf(items[i], '\n') >= 0;
  }
  lines = lines || length > inspect_line_max;
  let out = '';
  for (let i = 0; i < items.length; i++) {
    const comma = i === 0 ? '' : ',';
    out = lines ? `${out}${comma}\n  ${indent(items[i])}` : `${out}${comma} ${items[i]}`;
  }
  return lines ? `${lead}${out}\n${close}` : `${lead}${out} ${close}`;
}

// Many short items of a list, as many to a line as fit.
function joinPacked(head, items) {
  let widest = 0;
  for (let i = 0; i < items.length - 1; i++) {
    if (stringIndexOf(items[i], '\n') >= 0) return joinItems(head, '[', ']', items);
    widest = max(widest, items[i].length);
  }
  if (widest > inspect_packed_item_max) return joinItems(head, '[', ']', items);
  let out = head === '' ? '[' : `${head} [`;
  let line = '';
  for (let i = 0; i < items.length; i++) {
    const item = i === items.length - 1 ? items[i] : `${items[i]},`;
    if (line !== '' && line.length + item.length + 1 > inspect_line_max) {
      out = `${out}\n  ${line}`;
      line = '';
    }
    line = line === '' ? item : `${line} ${item}`;
  }
  return out.length + line.length + 4 <= inspect_line_max && stringIndexOf(out, '\n') < 0
      ? `${out} ${line} ]` : `${out}\n  ${line}\n]`;
}

function functionHead(f) {
  const source = functionToString(f);
  const name = getDescriptor(f, 'name')?.value;
  const named = typeof name === 'string' && name !== '';
  if (stringStartsWith(source, 'class') && !stringStartsWith(source, 'class(')) {
    const parent = getPrototype(f);
    const base = typeof parent === 'function' ? getDescriptor(parent, 'name')?.value : undefined;
    const suffix = typeof base === 'string' && base !== '' ? ` extends ${base}` : '';
    return named ? `[class ${name}${suffix}]` : `[class (anonymous)${suffix}]`;
  }
  const kind = constructorName(f) ?? 'Function';
  return named ? `[${kind}: ${name}]` : `[${kind} (anonymous)]`;
}
function errorText(error) {
  const stack = textMember(error, 'stack');
  if (stack !== undefined && stack !== '') return stripRuntimeFrames(stack);
  const name = textMember(error, 'name') ?? 'Error';
  const message = textMember(error, 'message') ?? '';
  return message === '' ? `[${name}]` : `[${name}: ${message}]`;
}
const boxedNames = freeze({
  __proto__: null, string: 'String', number: 'Number', boolean: 'Boolean', bigint: 'BigInt',
  symbol: 'Symbol',
});
function boxedText(value) {
  const primitive = $.boxedValue(value);
  const name = boxedNames[typeof primitive];
  return `[${name}: ${formatPrimitive(primitive)}]`;
}

class Inspector {
  seen = [];           // the objects around the one being formatted, outermost first
  characters = 0;      // written so far, roughly
  circular = undefined;  // the object that a cycle led back to

  value(value, depth) {
    if (!isObject(value)) {
      const text = formatPrimitive(value);
      this.characters += text.length;
      return text;
    }
    const kind = $.kind(value);
    if (kind === kindProxy) return typeof value === 'function' ? '[Function (proxy)]' : '[Proxy]';
    for (let i = 0; i < this.seen.length; i++) {
      if (this.seen[i] === value) {
        this.circular = value;
        return '[Circular *1]';
      }
    }
    append(this.seen, value);
    const text = this.object(value, kind, depth);
    this.seen.length -= 1;
    this.characters += 8;
    if (this.circular !== value) return text;
    this.circular = undefined;
    return `<ref *1> ${text}`;
  }

  object(value, kind, depth) {
    const isList = kind === kindArray || kind === kindTypedArray;
    const whole = this.whole(value, kind);   // what needs no braces: functions, errors, dates …
    const keys = this.keys(value, kind, isList);
    if (whole !== undefined && keys.length === 0) return whole;
    const head = whole ?? this.head(value, kind);
    if (depth > inspect_depth_max) {
      return head === '' ? (isList ? '[Array]' : '[Object]') : whole ?? `[${head}]`;
    }
    const items = [];
    this.entries(value, kind, depth, items);
    for (let i = 0; i < keys.length; i++) {
      if (items.length > inspect_items_max || this.characters > inspect_characters_max) {
        append(items, `... ${keys.length - i} more items`);
        break;
      }
      append(items, `${formatKey(keys[i])}: ${this.property(value, keys[i], depth)}`);
    }
    if (isList && items.length > inspect_packed_min) return joinPacked(head, items);
    return isList ? joinItems(head, '[', ']', items) : joinItems(head, '{', '}', items);
  }

  whole(value, kind) {
    switch (kind) {
      case kindFunction: return functionHead(value);
      case kindError: return errorText(value);
      case kindDate: {
        const time = dateGetTime(value);
        return isNaNNumber(time) ? 'Invalid Date' : dateToISOString(value);
      }
      case kindRegExp: return $.regExpText(value);
      case kindBoxed: return boxedText(value);
      case kindOther:
        if (isUrl(value)) return `URL { href: ${quote(urlHref(value))} }`;
        return undefined;
      case kindGenerator: return 'Object [Generator] {}';
      default: return undefined;
    }
  }

  head(value, kind) {
    const name = constructorName(value);
    switch (kind) {
      case kindArray: return name === 'Array' ? '' : `${name ?? 'Array'}(${value.length})`;
      case kindTypedArray: return `${name ?? typedName(value)}(${typedLength(value)})`;
      case kindMap: return `${name ?? 'Map'}(${mapSize(value)})`;
      case kindSet: return `${name ?? 'Set'}(${setSize(value)})`;
      default: break;
    }
    if (name === null) return '[Object: null prototype]';
    const label = getDescriptor(value, toStringTag)?.value
        ?? getDescriptor(getPrototype(value) ?? value, toStringTag)?.value;
    if (typeof label === 'string' && label !== '' && label !== name) return `${name} [${label}]`;
    return name === 'Object' ? '' : name;
  }

  // Own enumerable keys beside the entries, and what errors hide.
  keys(value, kind, isList) {
    const all = ownKeys(value);
    const keys = [];
    for (let i = 0; i < all.length && keys.length <= 4 * inspect_items_max; i++) {
      const key = all[i];
      if ((isList || kind === kindBoxed) && isIndexKey(key)) continue;
      const descriptor = getDescriptor(value, key);
      const hidden = kind === kindError && (key === 'cause' || key === 'errors' || key === 'code' ||
                                            key === 'status') && descriptor.value !== undefined;
      if ((descriptor !== undefined && descriptor.enumerable) || hidden) append(keys, key);
    }
    return keys;
  }

  property(value, key, depth) {
    const descriptor = getDescriptor(value, key);
    if (descriptor === undefined) return 'undefined';
    if (hasOwn(descriptor, 'value')) return this.value(descriptor.value, depth + 1);
    if (descriptor.get !== undefined) {
      return descriptor.set !== undefined ? '[Getter/Setter]' : '[Getter]';
    }
    return '[Setter]';
  }

  // What a collection contains.
  entries(value, kind, depth, items) {
    if (kind === kindArray) {
      this.elements(value, value.length, depth, items);
    } else if (kind === kindTypedArray) {
      this.elements(value, typedLength(value), depth, items);
    } else if (kind === kindMap) {
      this.collection(mapForEach, value, mapSize(value), items, (item, key) =>
        `${this.value(key, depth + 1)} => ${this.value(item, depth + 1)}`);
    } else if (kind === kindSet) {
      this.collection(setForEach, value, setSize(value), items, (item) =>
        this.value(item, depth + 1));
    } else if (kind === kindPromise) {
      const state = $.promiseState(value);
      const label = state[0] === promiseRejected ? '<rejected> ' : '';
      append(items, state[0] === promisePending ? '<pending>'
          : `${label}${this.value(state[1], depth + 1)}`);
    } else if (kind === kindArrayBuffer) {
      append(items, `byteLength: ${bufferByteLength(value)}`);
    } else if (kind === kindDataView) {
      append(items, `byteLength: ${dataViewLength(value)}`);
      append(items, `byteOffset: ${dataViewOffset(value)}`);
    } else if (kind === kindWeakCollection) {
      append(items, '<items unknown>');
    }
  }

  elements(value, length, depth, items) {
    let empty = 0;
    const flush = () => {
      if (empty > 0) append(items, `<${empty} empty item${empty === 1 ? '' : 's'}>`);
      empty = 0;
    };
    let i = 0;
    for (; i < length; i++) {
      if (items.length >= inspect_items_max || this.characters > inspect_characters_max ||
          i > 100 * inspect_items_max) break;
      if (!hasOwn(value, i)) {
        empty++;
        continue;
      }
      flush();
      append(items, this.property(value, i, depth));
    }
    flush();
    if (i < length) append(items, `... ${length - i} more item${length - i === 1 ? '' : 's'}`);
  }

  collection(forEach, value, size, items, format) {
    let count = 0;
    forEach(value, (item, key) => {
      if (++count > inspect_items_max || this.characters > inspect_characters_max) return;
      append(items, format(item, key));
    });
    if (count > items.length) append(items, `... ${count - items.length} more items`);
  }
}

function inspectOne(value) {
  return new Inspector().value(value, 0);
}
