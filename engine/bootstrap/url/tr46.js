// Stands in for tr46 inside the bundle: plain ASCII domains, which are nearly all, need no mapping
// table (WHATWG URL, "domain to ASCII", the shortcut), so its megabyte of heap is made only for
// the others.
"use strict";

const isPlain = /^[\x00-\x7f]*$/;
const hasAceLabel = /(^|\.)xn--/i;

exports.toASCII = (domain, options) =>
  isPlain.test(domain) && !hasAceLabel.test(domain)
    ? domain.toLowerCase()
    : require("tr46-real").toASCII(domain, options);
exports.toUnicode = (domain, options) => require("tr46-real").toUnicode(domain, options);
