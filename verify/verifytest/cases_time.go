package verifytest

// expiryCases are tokens that have expired, or have no valid exp.
func expiryCases() []Case {
	const over, source = "the time is over", "RFC 7519, Section 4.1.4"
	const endless, always = "a stolen token works for ever", "RFC 9068, Section 2.2"
	const long, lifetime = "no session lasts that long", "RFC 7519, Section 4.1.4"
	exp := func(id, title, value string) Case {
		return refuse(id, title, over, source, claims(`$exp`, value))
	}
	return []Case{
		exp("exp-hour-ago", "expired an hour ago", `${now-3600}`),
		exp("exp-ten-minutes-ago", "expired ten minutes ago", `${now-600}`),
		refuse("exp-leeway", "expired just as long ago as the leeway", over, source,
			claims(`$iat`, `${now-600}`, `$exp`, `${now-30}`)).ours(),
		exp("exp-one", "exp 1", `1`),
		exp("exp-zero", "exp 0", `0`),
		exp("exp-minus-zero", "exp -0", `-0`),
		exp("exp-negative", "a negative exp", `-1`),
		refuse("exp-missing", "no exp", endless, always, claims(`,"exp":$exp`, ``)),
		refuse("exp-null", "exp null", endless, always, claims(`$exp`, `null`)),
		refuse("exp-string", "exp a string", "a date is a number", source, claims(`$exp`, `"$exp"`)),
		refuse("exp-text", "exp in words", "a date is a number", source, claims(`$exp`, `"never"`)),
		refuse("exp-iso", "exp in ISO 8601", "a date is a number", source, claims(`$exp`, `"2099-01-01T00:00:00Z"`)),
		refuse("exp-true", "exp true", "a date is a number", source, claims(`$exp`, `true`)),
		refuse("exp-false", "exp false", "a date is a number", source, claims(`$exp`, `false`)),
		refuse("exp-list", "exp a list", "a date is a number", source, claims(`$exp`, `[$exp]`)),
		refuse("exp-object", "exp an object", "a date is a number", source, claims(`$exp`, `{"seconds":$exp}`)),
		refuse("exp-milliseconds", "exp in milliseconds", long, lifetime, claims(`$exp`, `${exp}000`)).ours(),
		refuse("exp-microseconds", "exp in microseconds", long, lifetime, claims(`$exp`, `${exp}000000`)).ours(),
		refuse("exp-year-10000", "exp after the year 9999", long, lifetime, claims(`$exp`, `253402300800`)).ours(),
		refuse("exp-int64", "exp the largest of 64 bits", long, lifetime, claims(`$exp`, `9223372036854775807`)).ours(),
		refuse("exp-overflow", "exp that wraps around 64 bits", long, lifetime, claims(`$exp`, `1844674407${now}`)).ours(),
		refuse("exp-wrapped", "exp just beyond 64 bits", long, lifetime, claims(`$exp`, `18446744073709551617`)).ours(),
		refuse("exp-infinite", "exp beyond every float", long, lifetime, claims(`$exp`, `1e999`)).ours(),
		refuse("exp-day-and-more", "a session of a day and a second", long, lifetime,
			claims(`"exp":$exp`, `"exp":${now+86401}`)).ours(),
		refuse("exp-long-ago-issued", "a session that began two days ago", long, lifetime,
			claims(`$iat`, `${now-172800}`)).ours(),
	}
}

// dateCases test the other dates, and other ways to write dates.
func dateCases() []Case {
	const early, nbf = "the time has not come", "RFC 7519, Section 4.1.5"
	const future, iat = "the issuer's clock is wrong, or the token is not the issuer's", "RFC 7519, Section 4.1.6"
	const whole, numeric = "the issuer writes whole seconds, and floats round", "RFC 7519, Section 2"
	const number = "a date is a number"
	return []Case{
		refuse("nbf-hour", "nbf in an hour", early, nbf, claims(`{`, `{"nbf":${now+3600},`)),
		refuse("nbf-ten-minutes", "nbf in ten minutes", early, nbf, claims(`{`, `{"nbf":${now+600},`)),
		refuse("nbf-milliseconds", "nbf in milliseconds", early, nbf, claims(`{`, `{"nbf":${now}000,`)),
		refuse("nbf-string", "nbf a string", number, nbf, claims(`{`, `{"nbf":"$now",`)),
		refuse("nbf-null", "nbf null", number, nbf, claims(`{`, `{"nbf":null,`)).ours(),
		refuse("nbf-zero", "nbf 0", whole, numeric, claims(`{`, `{"nbf":0,`)).ours(),
		refuse("nbf-fraction", "nbf with a fraction", whole, numeric, claims(`{`, `{"nbf":$now.5,`)).ours(),
		refuse("iat-missing", "no iat", "how long it lasts is not known", iat, claims(`"iat":$iat,`, ``)).ours(),
		refuse("iat-future", "issued in ten minutes", future, iat, claims(`$iat`, `${now+600}`)).ours(),
		refuse("iat-after-exp", "issued after it expired", future, iat,
			claims(`$iat`, `${now+20}`, `$exp`, `${now+10}`)).ours(),
		refuse("iat-equals-exp", "a session of no time", future, iat,
			claims(`$iat`, `$now`, `$exp`, `$now`)).ours(),
		refuse("iat-string", "iat a string", number, iat, claims(`$iat`, `"$iat"`)),
		refuse("iat-null", "iat null", number, iat, claims(`$iat`, `null`)).ours(),
		refuse("iat-zero", "iat 0", whole, numeric, claims(`$iat`, `0`)).ours(),
		refuse("iat-negative", "a negative iat", future, iat, claims(`$iat`, `-1`)).ours(),
		refuse("iat-milliseconds", "iat in milliseconds", future, iat, claims(`$iat`, `${iat}000`)).ours(),
		refuse("iat-fraction", "iat with a fraction", whole, numeric, claims(`$iat`, `$iat.25`)).ours(),
		refuse("exp-fraction", "exp with a fraction", whole, numeric, claims(`$exp`, `$exp.5`)).ours(),
		refuse("exp-point-zero", "exp with .0", whole, numeric, claims(`$exp`, `$exp.0`)).ours(),
		refuse("exp-exponent", "exp with an exponent", whole, numeric, claims(`$exp`, `${exp}e0`)).ours(),
		refuse("dates-strings", "all dates strings", number, numeric,
			claims(`$iat`, `"$iat"`, `$exp`, `"$exp"`)),
	}
}
