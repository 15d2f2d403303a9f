// Counts down to the end of the session. The page is right without it.
const left = document.getElementById("left");
const ends = Date.parse(left.dataset.expires);

function show() {
  const seconds = Math.max(0, Math.round((ends - Date.now()) / 1000));
  if (seconds === 0) {
    location.reload(); // the portal says what happened
    return;
  }
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const clock = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  left.textContent = (hours > 0 ? `${hours}:${clock}` : clock) + " left";
  setTimeout(show, 1000 - (Date.now() % 1000));
}

show();
