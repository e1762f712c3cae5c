// Tells which raw paths reach a handler of Express.
//
// stdin: {"templates": ["/users/{id}/email", ...], "paths": ["/...", ...]}
// stdout: {"router": [bool, ...], ...}, one for each path
const fs = require('node:fs')
const http = require('node:http')
const express = require('express')

function router(templates, options) {
  const app = express()
  for (const [name, on] of Object.entries(options)) app.set(name, on)
  app.set('env', 'test')
  for (const t of templates) {
    app.post(t.replace(/\{(\w+)\}/g, ':$1'), (req, res) => { res.handled = true; res.end() })
  }
  return app
}

function reaches(app, path) {
  const req = new http.IncomingMessage(null)
  req.method = 'POST'
  req.url = path
  const res = new http.ServerResponse(req)
  app.handle(req, res, () => {})
  return res.handled === true
}

const work = JSON.parse(fs.readFileSync(0, 'utf8'))
const routers = {
  'Express': router(work.templates, {}),
  'Express, strict': router(work.templates, { 'case sensitive routing': true, 'strict routing': true }),
}
const answers = {}
for (const [name, app] of Object.entries(routers)) answers[name] = work.paths.map((p) => reaches(app, p))
process.stdout.write(JSON.stringify(answers))
