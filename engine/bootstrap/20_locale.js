// Part 3: Intl and the locale-dependent methods, pinned to en-US and UTC unless the task says
// otherwise. Native Intl objects hold ICU pointers that a heap snapshot cannot contain, so each
// wrapper keeps only (locales, options) and builds the native object for every use.

const default_locale = 'en-US';
const default_time_zone = 'UTC';

function withTimeZone(options) {
  if (options === undefined) return { timeZone: default_time_zone };
  const copy = assign({}, options);
  if (copy.timeZone === undefined) define(copy, 'timeZone', default_time_zone);
  return copy;
}

const nativeIntl = globalObject.Intl;
const nativeIntlGetCanonicalLocales = nativeIntl?.getCanonicalLocales;

// Methods and accessors of a date formatter take the virtual time where no date is given.
function wrapIntl(Intl, name, isDate, accessors, methods, callable) {
  const Native = nativeIntl[name];
  if (Native === undefined) return;
  const state = new WeakMap();
  const stateGet = uncurry(WeakMap.prototype.get);
  const stateSet = uncurry(WeakMap.prototype.set);
  const build = (self) => {
    const args = stateGet(state, self);
    if (args === undefined) {
      throw new NativeTypeError(`Method called on incompatible receiver: not an Intl.${name}`);
    }
    return construct(Native, args);
  };
  function Wrapper(locales, options) {
    if (new.target === undefined) {
      if (!callable) throw new NativeTypeError(`Constructor Intl.${name} requires 'new'`);
      return new Wrapper(locales, options);
    }
    const list = locales === undefined ? default_locale : apply(nativeIntlGetCanonicalLocales,
                                                                nativeIntl, [locales]);
    const copy = isDate ? withTimeZone(options)
        : options === undefined ? undefined : assign({}, options);
    const args = [list, copy];
    construct(Native, args);  // throws what a wrong locale or option throws
    stateSet(state, this, args);
  }
  setName(Wrapper, name);
  defineReadOnly(Wrapper, 'length', 0);
  define(Wrapper, 'supportedLocalesOf', Native.supportedLocalesOf);
  for (let i = 0; i < methods.length; i++) {
    const method = methods[i];
    const native = Native.prototype[method];
    if (typeof native !== 'function') continue;
    const timed = isDate && method === 'formatToParts';
    define(Wrapper.prototype, method, setName(function (a, b) {
      const self = build(this);
      if (timed && a === undefined) return apply(native, self, [now]);
      const result = apply(native, self, arguments);
      return method === 'segment' ? segmentsOf(result) : result;
    }, method));
  }
  for (let i = 0; i < accessors.length; i++) {
    const accessor = accessors[i];
    const getter = getDescriptor(Native.prototype, accessor).get;
    defineProperty(Wrapper.prototype, accessor, {
      __proto__: null,
      get: setName(function () {
        build(this);
        return (a, b) => apply(apply(getter, build(this), []), undefined,
                               isDate && a === undefined ? [now] : [a, b]);
      }, `get ${accessor}`),
      set: undefined, enumerable: false, configurable: true,
    });
  }
  tag(Wrapper.prototype, `Intl.${name}`);
  define(Intl, name, Wrapper);
}

const NativeSegments = nativeIntl?.Segmenter && getPrototype(apply(
    nativeIntl.Segmenter.prototype.segment, new nativeIntl.Segmenter('en'), ['']));
const segmentsIterator = NativeSegments?.[symbolIterator];
const segmentsNext = NativeSegments && getPrototype(apply(segmentsIterator, apply(
    nativeIntl.Segmenter.prototype.segment, new nativeIntl.Segmenter('en'), ['']), [])).next;

// The native Segments object as a plain array of segments with `containing`.
function segmentsOf(native) {
  const segments = [];
  const iterator = apply(segmentsIterator, native, []);
  for (;;) {
    const step = apply(segmentsNext, iterator, []);
    if (step.done) break;
    const value = step.value;
    append(segments, value.isWordLike === undefined
        ? { segment: value.segment, index: value.index, input: value.input }
        : { segment: value.segment, index: value.index, input: value.input,
            isWordLike: value.isWordLike });
  }
  define(segments, 'containing', { containing(index = 0) {
    index = trunc(+index) || 0;
    for (let i = 0; i < segments.length; i++) {
      const s = segments[i];
      if (index >= s.index && index < s.index + s.segment.length) return s;
    }
    return undefined;
  } }.containing);
  return segments;
}

// Intl.Locale is immutable data: its canonical text says everything.
function wrapIntlLocale(Intl) {
  const Native = nativeIntl.Locale;
  const state = new WeakMap();
  const stateGet = uncurry(WeakMap.prototype.get);
  const stateSet = uncurry(WeakMap.prototype.set);
  const nativeToString = Native.prototype.toString;
  const textOf = (self) => {
    const text = stateGet(state, self);
    if (text === undefined) throw new NativeTypeError('not an Intl.Locale');
    return text;
  };
  function Locale(text, options) {
    if (new.target === undefined) {
      throw new NativeTypeError("Constructor Intl.Locale requires 'new'");
    }
    const source = isObject(text) && stateGet(state, text) !== undefined ? stateGet(state, text)
        : text;
    stateSet(state, this, apply(nativeToString, construct(Native, [source, options]), []));
  }
  const keys = ownKeys(Native.prototype);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i];
    const descriptor = getDescriptor(Native.prototype, key);
    if (key === 'constructor' || typeof key === 'symbol') continue;
    if (descriptor.get) {
      const getter = descriptor.get;
      defineProperty(Locale.prototype, key, {
        __proto__: null, set: undefined, enumerable: false, configurable: true,
        get: setName(function () { return apply(getter, construct(Native, [textOf(this)]), []); },
                     `get ${key}`),
      });
    } else if (key === 'maximize' || key === 'minimize') {
      const method = descriptor.value;
      define(Locale.prototype, key, setName(function () {
        return new Locale(apply(nativeToString,
                                apply(method, construct(Native, [textOf(this)]), []), []));
      }, key));
    }
  }
  define(Locale.prototype, 'toString', { toString() { return textOf(this); } }.toString);
  defineReadOnly(Locale, 'length', 1);
  tag(Locale.prototype, 'Intl.Locale');
  define(Intl, 'Locale', Locale);
}

if (nativeIntl !== undefined) {
  const Intl = {};
  const parts = ['formatToParts', 'formatRange', 'formatRangeToParts', 'resolvedOptions'];
  wrapIntl(Intl, 'NumberFormat', false, ['format'], parts, true);
  wrapIntl(Intl, 'DateTimeFormat', true, ['format'], parts, true);
  wrapIntl(Intl, 'Collator', false, ['compare'], ['resolvedOptions'], true);
  wrapIntl(Intl, 'PluralRules', false, [], ['select', 'selectRange', 'resolvedOptions'], false);
  wrapIntl(Intl, 'RelativeTimeFormat', false, [],
           ['format', 'formatToParts', 'resolvedOptions'], false);
  wrapIntl(Intl, 'ListFormat', false, [], ['format', 'formatToParts', 'resolvedOptions'], false);
  wrapIntl(Intl, 'DisplayNames', false, [], ['of', 'resolvedOptions'], false);
  wrapIntl(Intl, 'Segmenter', false, [], ['segment', 'resolvedOptions'], false);
  wrapIntlLocale(Intl);
  define(Intl, 'getCanonicalLocales', nativeIntl.getCanonicalLocales);
  if (nativeIntl.supportedValuesOf) define(Intl, 'supportedValuesOf', nativeIntl.supportedValuesOf);
  tag(Intl, 'Intl');
  define(globalObject, 'Intl', Intl);
}

function pinLocale(prototype, name, isDate) {
  const native = prototype[name];
  if (typeof native !== 'function') return;
  const f = setName(function (locales, options) {
    if (locales === undefined) locales = default_locale;
    return apply(native, this, [locales, isDate ? withTimeZone(options) : options]);
  }, name);
  defineReadOnly(f, 'length', native.length);
  define(prototype, name, f);
}
pinLocale(Number.prototype, 'toLocaleString', false);
pinLocale(BigInt.prototype, 'toLocaleString', false);
pinLocale(NativeDate.prototype, 'toLocaleString', true);
pinLocale(NativeDate.prototype, 'toLocaleDateString', true);
pinLocale(NativeDate.prototype, 'toLocaleTimeString', true);
pinLocale(String.prototype, 'toLocaleLowerCase', false);
pinLocale(String.prototype, 'toLocaleUpperCase', false);
{
  const native = String.prototype.localeCompare;
  define(String.prototype, 'localeCompare', {
    localeCompare(that, locales, options) {
      return apply(native, this, [that, locales === undefined ? default_locale : locales, options]);
    },
  }.localeCompare);
}
