// Part 9e: FormData, and bodies that are forms: multipart/form-data both ways.

// ---- writing ------------------------------------------------------------------------------------
// A name in the head of a part, where these three cannot be.
function partName(text) {
  let out = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    out += c === '\n' ? '%0A' : c === '\r' ? '%0D' : c === '"' ? '%22' : c;
  }
  return out;
}
// By the run's own random numbers: a replay sends the same bytes.
function newBoundary() {
  let text = '----sequential-form-';
  for (let i = 0; i < 4; i++) text += stringSlice(numberToString(0x100000000 + randomUint32(), 16), 1);
  return text;
}
function multipartOf(form) {
  const boundary = newBoundary();
  const entries = formControl.entries(form);
  const chunks = [];
  for (let i = 0; i < entries.length; i++) {
    const { name, value } = entries[i];
    let head = `--${boundary}\r\nContent-Disposition: form-data; ` +
        `name="${partName(withLineEnds(name, '\r\n'))}"`;
    if (typeof value === 'string') {
      append(chunks, $.utf8Encode(`${head}\r\n\r\n${withLineEnds(value, '\r\n')}\r\n`));
      continue;
    }
    head += `; filename="${partName(fileControl.name(value))}"\r\nContent-Type: ` +
        `${blobControl.type(value) || 'application/octet-stream'}\r\n\r\n`;
    append(chunks, $.utf8Encode(head));
    append(chunks, blobControl.bytes(value));
    append(chunks, $.utf8Encode('\r\n'));
  }
  append(chunks, $.utf8Encode(`--${boundary}--\r\n`));
  return { bytes: joinBytes(chunks), type: `multipart/form-data; boundary=${boundary}` };
}

// ---- reading ------------------------------------------------------------------------------------
function notAForm(why) {
  return new NativeTypeError(`The body is not a form: ${why}`);
}
// Where `wanted` begins in `bytes`, from `from` on, or -1.
function findBytes(bytes, wanted, from) {
  const last = typedLength(bytes) - typedLength(wanted);
  for (let at = typedIndexOf(bytes, wanted[0], from); at >= 0 && at <= last;
    at = typedIndexOf(bytes, wanted[0], at + 1)) {
    let same = 1;
    while (same < typedLength(wanted) && bytes[at + same] === wanted[same]) same++;
    if (same === typedLength(wanted)) return at;
  }
  return -1;
}
// The parameter of "form-data; name=\"a\"" or "multipart/form-data; boundary=x", or undefined.
function headerParameter(text, wanted) {
  let at = stringIndexOf(text, ';');
  while (at >= 0 && at < text.length) {
    const equals = stringIndexOf(text, '=', at);
    if (equals < 0) return undefined;
    const name = stringToLowerCase(stringTrim(stringSlice(text, at + 1, equals)));
    let value;
    if (text[equals + 1] === '"') {
      const end = stringIndexOf(text, '"', equals + 2);
      if (end < 0) return undefined;
      value = stringSlice(text, equals + 2, end);
      at = stringIndexOf(text, ';', end);
    } else {
      at = stringIndexOf(text, ';', equals);
      value = stringTrim(at < 0 ? stringSlice(text, equals + 1)
          : stringSlice(text, equals + 1, at));
    }
    if (name === wanted) return value;
  }
  return undefined;
}
function partText(text) {
  let out = '';
  for (let i = 0; i < text.length; i++) {
    const escape = text[i] === '%' ? stringToUpperCase(stringSlice(text, i + 1, i + 3)) : '';
    const c = escape === '0A' ? '\n' : escape === '0D' ? '\r' : escape === '22' ? '"' : '';
    out += c === '' ? text[i] : c;
    if (c !== '') i += 2;
  }
  return out;
}
// The head of a part: {name, filename, type}.
function partHead(text) {
  const head = { __proto__: null, name: undefined, filename: undefined, type: undefined };
  let from = 0;
  while (from < text.length) {
    let end = stringIndexOf(text, '\r\n', from);
    if (end < 0) end = text.length;
    const line = stringSlice(text, from, end);
    from = end + 2;
    const colon = stringIndexOf(line, ':');
    if (colon < 0) throw notAForm('a line of a part is no header');
    const field = stringToLowerCase(stringTrim(stringSlice(line, 0, colon)));
    const value = stringTrim(stringSlice(line, colon + 1));
    if (field === 'content-type') head.type = value;
    if (field !== 'content-disposition') continue;
    if (!stringStartsWith(stringToLowerCase(value), 'form-data')) {
      throw notAForm('a part is no form-data');
    }
    head.name = headerParameter(value, 'name');
    head.filename = headerParameter(value, 'filename');
  }
  if (head.name === undefined) throw notAForm('a part has no name');
  return head;
}
function formOfMultipart(bytes, boundary) {
  const form = formControl.make();
  const delimiter = $.utf8Encode(`\r\n--${boundary}`);
  const blank = $.utf8Encode('\r\n\r\n');
  const first = $.utf8Encode(`--${boundary}`);
  if (findBytes(partOf(bytes, 0, min(typedLength(first), typedLength(bytes))), first, 0) !== 0) {
    throw notAForm('it does not begin with its boundary');
  }
  let at = typedLength(first);
  for (;;) {
    if (bytes[at] === 45 && bytes[at + 1] === 45) return form;  // "--"
    if (bytes[at] !== 13 || bytes[at + 1] !== 10) throw notAForm('a boundary ends no line');
    const body = findBytes(bytes, blank, at);
    const end = body < 0 ? -1 : findBytes(bytes, delimiter, body + 2);
    if (end < 0) throw notAForm('it ends within a part');
    const head = partHead(decodeUtf8(partOf(bytes, min(at + 2, body), body)));
    const content = partOf(bytes, min(body + 4, end), end);
    const name = partText(head.name);
    formControl.add(form, name, head.filename === undefined ? decodeAll(content)
        : makeFile(makeBlob(new NativeUint8Array(content), blobType(head.type ?? 'text/plain')),
                   partText(head.filename)));
    at = end + typedLength(delimiter);
  }
}
// Of a body and its content type. A TypeError: it is none.
function formOf(bytes, contentType) {
  lazyGlobal('FormData');
  const type = contentType ?? '';
  const semicolon = stringIndexOf(type, ';');
  const essence = stringToLowerCase(
      stringTrim(semicolon < 0 ? type : stringSlice(type, 0, semicolon)));
  if (essence === 'multipart/form-data') {
    const boundary = headerParameter(type, 'boundary');
    if (boundary === undefined || boundary === '') throw notAForm('its type names no boundary');
    return formOfMultipart(bytes, boundary);
  }
  if (essence !== 'application/x-www-form-urlencoded') {
    throw notAForm(`its type is ${quote(type)}`);
  }
  const form = formControl.make();
  const Params = lazyGlobal('URLSearchParams');
  searchParamsEach(new Params(decodeUtf8(bytes)), (value, name) => {
    formControl.add(form, name, value);
  });
  return form;
}

// ---- FormData -----------------------------------------------------------------------------------
let formControl;  // reaches into forms; set when FormData is built
defineLazyGlobal('FormData', () => {
  lazyGlobal('File');
  class FormData {
    #list = [];  // {name, value}
    constructor(form = undefined) {
      if (form !== undefined) throw new NativeTypeError('FormData takes no form here');
    }
    static #entry(name, value, filename, count) {
      if (count < 2) throw new NativeTypeError('A field needs a name and a value');
      if (!blobControl.isBlob(value)) {
        if (count > 2) throw new NativeTypeError('Only a Blob has the name of a file');
        return { name: scalarText(name), value: scalarText(value) };
      }
      const file = fileControl.isFile(value) && filename === undefined ? value
          : makeFile(value, filename ?? (fileControl.isFile(value) ? fileControl.name(value) : 'blob'));
      return { name: scalarText(name), value: file };
    }
    append(name, value, filename = undefined) {
      append(this.#list, FormData.#entry(name, value, filename, arguments.length));
    }
    set(name, value, filename = undefined) {
      const entry = FormData.#entry(name, value, filename, arguments.length);
      const rest = [];
      let placed = false;
      for (let i = 0; i < this.#list.length; i++) {
        const same = this.#list[i].name === entry.name;
        if (!same) append(rest, this.#list[i]);
        else if (!placed) append(rest, entry);
        placed = placed || same;
      }
      if (!placed) append(rest, entry);
      this.#list = rest;
    }
    delete(name) {
      const wanted = scalarText(name);
      const rest = [];
      for (let i = 0; i < this.#list.length; i++) {
        if (this.#list[i].name !== wanted) append(rest, this.#list[i]);
      }
      this.#list = rest;
    }
    getAll(name) {
      const wanted = scalarText(name);
      const out = [];
      for (let i = 0; i < this.#list.length; i++) {
        if (this.#list[i].name === wanted) append(out, this.#list[i].value);
      }
      return out;
    }
    get(name) {
      const all = this.getAll(name);
      return all.length === 0 ? null : all[0];
    }
    has(name) { return this.getAll(name).length > 0; }
    forEach(callback, thisArg = undefined) {
      for (let i = 0; i < this.#list.length; i++) {
        apply(callback, thisArg, [this.#list[i].value, this.#list[i].name, this]);
      }
    }
    *entries() {
      for (let i = 0; i < this.#list.length; i++) yield [this.#list[i].name, this.#list[i].value];
    }
    *keys() {
      for (let i = 0; i < this.#list.length; i++) yield this.#list[i].name;
    }
    *values() {
      for (let i = 0; i < this.#list.length; i++) yield this.#list[i].value;
    }
    static control = {
      isForm: (value) => isObject(value) && #list in value,
      entries: (form) => form.#list,
      add(form, name, value) { append(form.#list, { name, value }); },
      make: () => new FormData(),
    };
  }
  define(FormData.prototype, symbolIterator, FormData.prototype.entries);
  formControl = FormData.control;
  deleteProperty(FormData, 'control');
  tag(FormData.prototype, 'FormData');
  return FormData;
});
function isForm(value) {
  return formControl !== undefined && formControl.isForm(value);
}
function makeFile(blob, name) {
  lazyGlobal('File');
  return fileControl.make(blob, name);
}
