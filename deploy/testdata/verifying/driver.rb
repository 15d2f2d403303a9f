# Shows tokens to the program of the page and says what it made of them.
#
# Standard input has one JSON object in a line. {"advance": 60} moves the clock
# that the age of keys is measured with, not the one of tokens; {"token": "..."}
# asks for a verdict: "accepted", "refused" or "unavailable".
require "json"
require_relative "verify"

# A clock of which the test can move the hands.
module Advance
  class << self
    attr_accessor :seconds
  end
  self.seconds = 0

  def clock_gettime(*arguments)
    super + Advance.seconds
  end
end
Process.singleton_class.prepend(Advance)

$stdout.sync = true
$stdin.each_line do |line|
  command = JSON.parse(line)
  if command["advance"]
    Advance.seconds += command["advance"]
    next
  end
  begin
    claims = verify(command["token"])
    whose = claims.values_at("sub", "member_id", "role").compact.join(" ")
    puts "accepted #{whose.split.join(" ")}" # one line, whatever they hold
  rescue KeysUnavailable
    puts "unavailable"
  rescue StandardError
    puts "refused"
  end
end
