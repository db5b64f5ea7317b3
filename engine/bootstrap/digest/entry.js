"use strict";
const { hmac } = require("@noble/hashes/hmac");
const { sha1 } = require("@noble/hashes/legacy");
const { sha256, sha384, sha512 } = require("@noble/hashes/sha2");
module.exports = { __proto__: null, hmac, "SHA-1": sha1, "SHA-256": sha256, "SHA-384": sha384, "SHA-512": sha512 };
