// Tells which names of form fields qs, the parser of Express, reads as a denied field.
//
// stdin: {"names": ["user[email]", ...], "fields": ["email", ...]}
// stdout: {"reached": {"parser": [bool, ...], ...}}, one for each name
const fs = require('node:fs')
const qs = require('qs')

const work = JSON.parse(fs.readFileSync(0, 'utf8'))

function has(value) {
  if (value === null || typeof value !== 'object') return false
  return Object.entries(value).some(([name, v]) => work.fields.includes(name) || has(v))
}

const reached = {}
for (const [parser, options] of Object.entries({
  'qs': {}, 'qs with dots': { allowDots: true }, 'qs with dots and escapes': { allowDots: true, decodeDotInKeys: true },
})) {
  reached[parser] = work.names.map((n) => has(qs.parse(encodeURIComponent(n) + '=7', options)))
}
process.stdout.write(JSON.stringify({ reached, read: {} }))
