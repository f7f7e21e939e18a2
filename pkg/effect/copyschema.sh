# Pipes the schema of a database into another one: $1 is pg_dump, $2 psql, $3 and $4 say
# where the two are; what follows goes to pg_dump. Ends with 0 only when both did.
dump=$1 psql=$2 from=$3 to=$4
shift 4
# Databases and roles carry time-outs that are meant for people.
LC_ALL=C PGOPTIONS='-c statement_timeout=0 -c lock_timeout=0'
export LC_ALL PGOPTIONS
failed=$({
	{ "$dump" --no-password --schema-only --no-tablespaces --lock-wait-timeout=10000 "$@" --dbname="$from" 3>&- || echo pg_dump >&3; } |
		"$psql" -XAtq --no-password -v ON_ERROR_STOP=1 --dbname="$to" >/dev/null 3>&- || echo psql >&3
} 3>&1)
[ -z "$failed" ]
