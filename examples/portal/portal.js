'use strict'
// The server sends the page's changing part as markup, escaped there. It is
// fitted into what is shown, so that focus, selection and a click half done stay.

const notice = document.getElementById('notice')
const live = () => document.getElementById('live')
const say = (text) => { notice.textContent = text }

function fit(old, now) {
  if (old.nodeName !== now.nodeName) return old.replaceWith(now)
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== now.data) old.data = now.data
    return
  }
  for (const name of old.getAttributeNames()) if (!now.hasAttribute(name)) old.removeAttribute(name)
  for (const name of now.getAttributeNames()) {
    if (old.getAttribute(name) !== now.getAttribute(name)) old.setAttribute(name, now.getAttribute(name))
  }
  const was = [...old.childNodes], is = [...now.childNodes]
  is.forEach((node, i) => { i < was.length ? fit(was[i], node) : old.append(node) })
  was.slice(is.length).forEach((node) => node.remove())
}

function show(markup) {
  const page = document.createElement('template')
  page.innerHTML = markup
  const focused = document.activeElement
  fit(live(), page.content.firstElementChild)
  if (focused.closest('[hidden]')) live().querySelector('form:not([hidden]) button')?.focus()
}

function follow() {
  const source = new EventSource('/live')
  source.onopen = () => document.body.classList.remove('stale')
  source.onerror = () => { // the browser tries again by itself, except after a refusal
    document.body.classList.add('stale')
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 3000)
  }
  source.addEventListener('page', (e) => show(e.data))
  source.addEventListener('notice', (e) => say(e.data))
}

let busy = false
addEventListener('submit', async (e) => {
  e.preventDefault()
  if (busy) return
  busy = true
  document.body.classList.add('busy')
  try {
    const answer = await fetch(e.target.action, { method: 'POST', headers: { Accept: 'text/plain' } })
    if (!answer.ok) say(await answer.text())
  } catch {
    say('The hotspot does not answer. Try again in a moment.')
  }
  document.body.classList.remove('busy')
  busy = false
})

follow()
