<?php
// Asks the program of the page whether sessions have ended.
//
// Standard input has one JSON object in a line: {"claims": {...}, "kid": "..."}. The
// answer is "ended", "good" or "unavailable".
require 'revocations.php';

while (($line = fgets(STDIN)) !== false) {
    $asked = json_decode($line, true);
    try {
        echo hasEnded($asked['claims'], $asked['kid']) ? 'ended' : 'good', "\n";
    } catch (RevocationsUnavailable) {
        echo "unavailable\n";
    }
}
