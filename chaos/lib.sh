# shellcheck shell=bash
# What the scripts beside this file share: which containers are ours, whom a target means, how the
# network between them is broken, and what the cluster looks like.
#
# Only containers of one Compose project that carry our label are ever touched. The network is broken
# by nftables in the network namespace of a container, from outside: the image has no tools, and what
# is done there disappears together with the container.

readonly EXIT_USAGE=2

# The name of the nftables table: everything in it is ours, and nothing else is.
readonly TABLE=coupon_chaos

# How long a target may be missing, for instance the leader of a shard that is electing one; how long
# a fault may take until it is in force; and how long a container may take until it serves. Seconds.
readonly TARGET_SECONDS_MAX=10
readonly FORCE_SECONDS_MAX=10
readonly SERVE_SECONDS_MAX=60

# How long nodes may take to say how they are before they count as unreachable, and the whole
# question with `docker exec` around it.
readonly ANSWER_TIMEOUT=1s
readonly SURVEY_SECONDS_MAX=10

project=${COMPOSE_PROJECT_NAME:-coupon}
script=$(basename "$0")
show_cluster=true
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { echo "$*"; }

fail() {
    echo "chaos/$script: $*" >&2
    exit 1
}

mistake() {
    echo "chaos/$script: $*" >&2
    echo "Try chaos/$script -h" >&2
    exit "$EXIT_USAGE"
}

# The part of every usage text about targets.
targets_help() {
    cat <<'TEXT'
A TARGET is one of
  leader SHARD      the node that leads a shard (0 is the shard of the map)
  follower SHARD    one of the nodes that follow there, at random
  node N, router N  that node or router; also node-N, router-N
  random            a node that runs, at random
  nodes, routers    all of them
  all               all nodes and routers; of several, those that run are meant
TEXT
}

# The part of every usage text about what is the same for all scripts.
common_help() {
    cat <<'TEXT'
Options:
  -q                do not show what the cluster looks like afterwards
  -h                this text

The Compose project is COMPOSE_PROJECT_NAME, or else coupon. The last line of the output says what was
done in one line: `fault kind=KIND target=MEMBER,... at=NANOSECONDS`, where at is when it was in force.
Exit codes: 0 it is in force; 1 it is not; 2 a mistake in the command line.
TEXT
}

# Answers -h, takes -q, and leaves everything else in `arguments`.
parse_options() {
    arguments=()
    local argument
    for argument in "$@"; do
        case $argument in
        -h | --help)
            usage
            exit 0
            ;;
        -q | --quiet) show_cluster=false ;;
        *) arguments+=("$argument") ;;
        esac
    done
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is missing: please install it"
    done
}

# ---------------------------------------------------------------------------------- containers

# The members, nodes first; by member its container, state ("running", "paused", "exited", ...),
# process, address and health ("-" where there is none).
members=()
declare -A container_of state_of pid_of address_of health_of

readonly INSPECTED='{{index .Config.Labels "coupon.member"}}|{{.Id}}|{{.State.Status}}|{{.State.Pid}}|'\
'{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}|{{if .State.Health}}{{.State.Health.Status}}{{end}}'

# Reads what containers there are. Fails when there is no cluster at all.
look() {
    local ids member id state pid address health
    ids=$(docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$project" \
        --filter label=coupon.member) || fail "docker does not answer: see \`docker version\`"
    [[ -n $ids ]] || fail "there is no cluster of the project $project: start one with \`make cluster\`," \
        "or name another one in COMPOSE_PROJECT_NAME"
    members=()
    # A container that goes away meanwhile is not one of the cluster any more.
    # shellcheck disable=SC2086
    docker inspect --format "$INSPECTED" $ids 2>/dev/null | sort >"$work/members" || true
    while IFS='|' read -r member id state pid address health; do
        members+=("$member")
        container_of[$member]=$id
        state_of[$member]=$state
        pid_of[$member]=$pid
        address_of[$member]=$address
        # Health is of the last probe, and a container that does not run has none.
        health_of[$member]=-
        [[ $state != running ]] || health_of[$member]=${health:--}
    done <"$work/members"
}

is_node() { [[ $1 == node-* ]]; }
runs() { [[ ${state_of[$1]} == running ]]; }
# A paused container has its processes and its network still.
lives() { [[ ${state_of[$1]} == running || ${state_of[$1]} == paused ]]; }

joined() {
    local IFS=,
    echo "$*"
}

containers() {
    local member
    for member in "$@"; do echo "${container_of[$member]}"; done
}

# The moment that an RFC 3339 time names, in nanoseconds since 1970.
nanos() { date --date="$1" +%s%N; }
now() { date +%s%N; }

# When the last one of these members ended, or was started, by Docker's own record.
ended_at() { latest FinishedAt "$@"; }
started_at() { latest StartedAt "$@"; }

latest() {
    local field=$1 member time latest=0
    shift
    for member in "$@"; do
        time=$(nanos "$(docker inspect --format "{{.State.$field}}" "${container_of[$member]}")")
        ((time <= latest)) || latest=$time
    done
    echo "$latest"
}

# Waits until all these members are in a state.
await_state() {
    local wanted=$1 member id states
    shift
    local deadline=$((SECONDS + FORCE_SECONDS_MAX))
    while true; do
        # shellcheck disable=SC2046
        states=$(docker inspect --format '{{.State.Status}}' $(containers "$@") | sort -u)
        [[ $states != "$wanted" ]] || return 0
        ((SECONDS < deadline)) || break
        sleep 0.05
    done
    for member in "$@"; do
        id=${container_of[$member]}
        states=$(docker inspect --format '{{.State.Status}}' "$id")
        [[ $states == "$wanted" ]] || fail "$member is $states and not $wanted"
    done
}

# Starts containers that do not run, and waits until they serve.
start_members() {
    (($# > 0)) || return 0
    local member
    # shellcheck disable=SC2046
    docker start $(containers "$@") >/dev/null || fail "not started: $(joined "$@")"
    look
    refresh_addresses
    await_serving "$@"
    look
}

# Waits until all these members serve. Asks the program itself, since Docker's own probes are seconds
# apart; and all of them at a time, since `docker exec` takes its time.
await_serving() {
    local member failed=false
    local -A asked=()
    for member in "$@"; do
        await_serving_one "$member" &
        asked[$member]=$!
    done
    for member in "$@"; do wait "${asked[$member]}" || failed=true; done
    # What failed has been said.
    ! $failed || exit 1
}

# Waits until a member serves, or with --live as second argument, until it lives.
await_serving_one() {
    local deadline=$((SECONDS + SERVE_SECONDS_MAX))
    until timeout 5 docker exec "${container_of[$1]}" /coupon health 127.0.0.1:7000 --timeout 1s "${@:2}" \
        >/dev/null 2>"$work/health.$1"; do
        ((SECONDS < deadline)) ||
            fail "$1 does not serve after $SERVE_SECONDS_MAX s: $(cat "$work/health.$1");" \
                "see \`docker logs ${container_of[$1]:0:12}\`"
        sleep 0.1
    done
}

# ------------------------------------------------------------------------------------- targets

# Who is meant, and the shard, where a shard was named.
targets=()
shard=

# Reads a target from the front of the arguments; `taken` is how many of them it was.
take_target() {
    local word=${1:-} number=${2:-}
    taken=1
    shard=
    case $word in
    "") mistake "a target is missing" ;;
    leader | follower)
        [[ $number =~ ^[0-9]+$ ]] || mistake "$word of which shard? A number is missing after it"
        taken=2
        shard=$number
        find_replica "$word" "$number"
        ;;
    node | router)
        [[ $number =~ ^[0-9]+$ ]] || mistake "which $word? A number is missing after it"
        taken=2
        targets=("$word-$number")
        ;;
    node-* | router-*) targets=("$word") ;;
    random)
        local running=() member
        for member in "${members[@]}"; do
            if is_node "$member" && runs "$member"; then running+=("$member"); fi
        done
        ((${#running[@]} > 0)) || fail "no node runs"
        targets=("${running[RANDOM % ${#running[@]}]}")
        ;;
    nodes) mapfile -t targets < <(printf '%s\n' "${members[@]}" | grep '^node-') ;;
    routers) mapfile -t targets < <(printf '%s\n' "${members[@]}" | grep '^router-') ;;
    all) targets=("${members[@]}") ;;
    *) mistake "$word is no target" ;;
    esac
    local target
    for target in "${targets[@]}"; do
        [[ -n ${container_of[$target]:-} ]] || mistake "there is no $target, only ${members[*]}"
    done
}

# Requires that the targets run, or of a group of them takes those that do: `kill all` means what is
# left of them. They have to be in a state, or in any.
need_living() {
    local wanted=$1 target living=()
    for target in "${targets[@]}"; do
        if lives "$target" && [[ $wanted == any || ${state_of[$target]} == "$wanted" ]]; then
            living+=("$target")
        elif ((${#targets[@]} == 1)); then
            fail "$target is ${state_of[$target]}: try chaos/heal"
        fi
    done
    ((${#living[@]} > 0)) || fail "none of $(joined "${targets[@]}") runs: try chaos/heal"
    targets=("${living[@]}")
}

# A target and nothing after it.
only_target() {
    take_target "$@"
    shift "$taken"
    (($# == 0)) || mistake "too many arguments: $*"
}

# The leader of a shard, or one of its followers that run. While it elects one it is waited for.
find_replica() {
    local role=$1 number=$2 deadline=$((SECONDS + TARGET_SECONDS_MAX)) candidates member
    while true; do
        survey
        [[ -n ${replicas_of[$number]:-} ]] || ((${#replicas_of[@]} == 0)) ||
            mistake "there is no shard $number, only ${!replicas_of[*]}"
        candidates=()
        if [[ -n ${leader_of[$number]:-} ]]; then
            for member in ${replicas_of[$number]}; do
                lives "$member" || continue
                case $role in
                leader) [[ $member != "${leader_of[$number]}" ]] || candidates+=("$member") ;;
                follower) [[ $member == "${leader_of[$number]}" ]] || candidates+=("$member") ;;
                esac
            done
        fi
        if ((${#candidates[@]} > 0)); then
            targets=("${candidates[RANDOM % ${#candidates[@]}]}")
            return
        fi
        ((SECONDS < deadline)) || fail "shard $number has no $role that runs: see chaos/status"
        sleep 0.1
        look
    done
}

# -------------------------------------------------------------------------------------- survey

# By shard: the node that leads it, and the nodes that have a replica.
declare -A leader_of replicas_of

# Asks nodes what they know. One is enough as long as the network is whole; else every node that runs
# is asked, since each sees only its side, and of several that call themselves leader of a shard the
# one with the highest term is.
survey() {
    local member asked=() number leader replicas
    leader_of=() replicas_of=()
    for member in "${members[@]}"; do
        if is_node "$member" && runs "$member"; then asked+=("$member"); fi
    done
    ((${#asked[@]} > 0)) || return 0
    is_network_broken || asked=("${asked[RANDOM % ${#asked[@]}]}")
    rm -f "$work"/survey.* "$work"/refused.*
    for member in "${asked[@]}"; do
        # It exits with 1 when a shard has no leader, and has said everything by then.
        timeout "$SURVEY_SECONDS_MAX" docker exec "${container_of[$member]}" /coupon status \
            --node 127.0.0.1:7000 --timeout "$ANSWER_TIMEOUT" --output json \
            >"$work/survey.$member" 2>"$work/refused.$member" &
    done
    wait
    python3 - "$work"/survey.* >"$work/shards" <<'PYTHON'
import json
import sys

leaders, replicas = {}, {}
for path in sys.argv[1:]:
    try:
        with open(path) as file:
            report = json.load(file)
    except ValueError:
        # This one did not answer in time, or is in no cluster.
        continue
    for shard in report["shards"]:
        number = shard["shard_id"]
        replicas.setdefault(number, set()).update(
            replica["node_id"] for replica in shard["replicas"])
        leads = [(replica["term"], replica["node_id"])
                 for replica in shard["replicas"] if replica["state"] == "leader"]
        leaders[number] = max([leaders.get(number, (0, 0)), *leads])
for number in sorted(replicas):
    names = " ".join(f"node-{node}" for node in sorted(replicas[number]))
    leader = leaders[number][1]
    print(f"{number}|{f'node-{leader}' if leader else ''}|{names}")
PYTHON
    while IFS='|' read -r number leader replicas; do
        [[ -z $leader ]] || leader_of[$number]=$leader
        replicas_of[$number]=$replicas
    done <"$work/shards"
}

# What the nodes said that did not answer the last survey.
refusals() { cat "$work"/refused.* 2>/dev/null || true; }

# Whether the last survey found a leader of every shard.
every_shard_is_led() { ((${#replicas_of[@]} > 0 && ${#leader_of[@]} == ${#replicas_of[@]})); }

# Waits until every shard has a leader.
await_leaders() {
    local deadline=$((SECONDS + SERVE_SECONDS_MAX))
    until survey && every_shard_is_led; do
        ((SECONDS < deadline)) || fail "no leader of every shard after $SERVE_SECONDS_MAX s: $(refusals)"
        sleep 0.2
        look
    done
}

# Shows the members, who leads which shard, and what is done to whose network.
picture() {
    $show_cluster || return 0
    look
    survey
    local member number leads format='%-9s %-10s %-10s %-14s %s\n' without=()
    say
    # shellcheck disable=SC2059
    printf "$format" MEMBER CONTAINER HEALTH LEADS NETWORK
    for member in "${members[@]}"; do
        leads=
        for number in $(printf '%s\n' "${!leader_of[@]}" | sort -n); do
            [[ ${leader_of[$number]} != "$member" ]] || leads+="$number "
        done
        # shellcheck disable=SC2059
        printf "$format" "$member" "${state_of[$member]}" "${health_of[$member]}" "${leads:--}" \
            "$(network_of "$member")"
    done
    for number in $(printf '%s\n' "${!replicas_of[@]}" | sort -n); do
        [[ -n ${leader_of[$number]:-} ]] || without+=("$number")
    done
    if ((${#replicas_of[@]} == 0)); then
        say "No node knows the cluster. $(refusals)"
    elif ((${#without[@]} > 0)); then
        say "Without a leader: shard ${without[*]}"
    fi
    say
}

# The last line of the output: what was done, to whom, and when it was in force.
#     summary KIND AT [KEY=VALUE...]
summary() {
    local kind=$1 at=$2
    shift 2
    picture
    local line="fault kind=$kind target=$(joined "${targets[@]}")"
    [[ -z $shard ]] || line+=" shard=$shard"
    say "$line${*:+ $*} at=$at"
}

# ------------------------------------------------------------------------------------- network

need_network() {
    ((EUID == 0)) || fail "only root can change the network of a container: try sudo"
    need nsenter nft
}

# nft in the network namespace of a member; reads commands from standard input.
nft_in() {
    local pid=${pid_of[$1]}
    # A daemon on another machine has another machine's process ids, and one in a virtual machine too.
    [[ $pid -gt 0 && -e /proc/$pid/ns/net ]] ||
        fail "the processes of $1 are not on this machine: run this where the Docker daemon runs"
    [[ $(readlink "/proc/$pid/ns/net") != $(readlink /proc/self/ns/net) ]] ||
        fail "$1 has the network of this machine itself, which is left alone"
    nsenter --target "$pid" --net nft --file -
}

# What a rule of this fault does with a packet. It is marked, so that it is told from those of others.
mark=fault-$(now)
drop="counter drop comment \"$mark\""

set_of() { echo "${1/-/_}"; }

# Makes the table of a member, with a set for each peer that holds its address: a rule then means a
# member, whatever address it has after its next start. It may be there already.
prepare() {
    local peer
    {
        echo "table inet $TABLE {"
        for peer in "${members[@]}"; do
            echo "set $(set_of "$peer") { type ipv4_addr; }"
        done
        # Cuts add up; the loss is one figure, which is replaced.
        local chain
        for chain in cut loss; do
            echo "chain ${chain}_in { type filter hook input priority raw; policy accept; }"
            echo "chain ${chain}_out { type filter hook output priority raw; policy accept; }"
        done
        echo "}"
        addresses
    } | nft_in "$1" || fail "nftables does not do what is needed in the network of $1"
}

# Commands that fill the sets.
addresses() {
    local peer
    for peer in "${members[@]}"; do
        echo "flush set inet $TABLE $(set_of "$peer")"
        [[ -z ${address_of[$peer]} ]] ||
            echo "add element inet $TABLE $(set_of "$peer") { ${address_of[$peer]} }"
    done
}

# Members whose network has our table. Only root can see that.
broken_members() {
    ((EUID == 0)) && command -v nsenter >/dev/null && command -v nft >/dev/null || return 0
    local member
    for member in "${members[@]}"; do
        lives "$member" || continue
        if echo "list table inet $TABLE" | nft_in "$member" >/dev/null 2>&1; then echo "$member"; fi
    done
}

is_network_broken() { [[ -n $(broken_members) ]]; }

# A container may have another address after its start.
refresh_addresses() {
    local member
    for member in $(broken_members); do addresses | nft_in "$member"; done
}

# Cuts the way from the members of one list to those of another, at both ends: then it stays cut
# when a container of one end is started again.
#     cut_way "node-1 node-2" "node-3"
cut_way() {
    local from to
    for from in $1; do
        for to in $2; do
            [[ $from != "$to" ]] || continue
            echo "add rule inet $TABLE cut_out ip daddr @$(set_of "$to") $drop" \
                >>"$work/rules.$from"
            echo "add rule inet $TABLE cut_in ip saddr @$(set_of "$from") $drop" \
                >>"$work/rules.$to"
        done
    done
}

cut_both_ways() {
    cut_way "$1" "$2"
    cut_way "$2" "$1"
}

# Puts the cuts that were collected in force, each container's in one step. What does not run has no
# network to cut; when it is started, the other ends cut it off.
put_cuts_in_force() {
    local member file wanted found
    compgen -G "$work/rules.*" >/dev/null || mistake "that cuts no member off from another"
    for file in "$work"/rules.*; do
        member=${file##*.}
        if lives "$member"; then prepare "$member"; else rm "$file"; fi
    done
    compgen -G "$work/rules.*" >/dev/null || fail "no member runs whose network could be cut: try chaos/heal"
    for file in "$work"/rules.*; do
        nft_in "${file##*.}" <"$file" ||
            fail "the network of ${file##*.} was not cut, that of members before it is: chaos/heal"
    done
    in_force_at=$(now)
    for file in "$work"/rules.*; do
        member=${file##*.}
        wanted=$(wc -l <"$file")
        found=$(rules_of "$member" | grep -c 'cut_') || true
        ((found >= wanted)) || fail "$member has $found rules of $wanted"
    done
    count_drops
}

# The rules of a member, one a line: its chain, and the rule.
rules_of() {
    echo "list table inet $TABLE" | nft_in "$1" 2>/dev/null |
        awk '$1 == "chain" { chain = $2 } /counter/ { $1 = $1; print chain, $0 }'
}

# How many packets the rules of this fault have dropped, in `dropped`; what others drop meanwhile is not
# counted. Nodes are never silent for long, so that a fault that is in force can be seen at work. That is
# waited for, but not as long as a router without requests may be silent.
count_drops() {
    local deadline=$((SECONDS + 2)) member
    while true; do
        dropped=$(for member in $(broken_members); do rules_of "$member"; done | awk -v mark="\"$mark\"" '
            index($0, mark) { for (i = 1; i < NF; i++) if ($i == "packets") sum += $(i + 1) }
            END { print sum + 0 }')
        ((dropped == 0 && SECONDS < deadline)) || return 0
        sleep 0.1
    done
}

# What is done to the network of a member, in words.
network_of() {
    lives "$1" || { echo "-" && return; }
    ((EUID == 0)) || { echo "unknown: only root can see it" && return; }
    rules_of "$1" | awk '
        function peer(name) { sub("@", "", name); sub("_", "-", name); return name }
        function add(list, name) { return list == "" ? name : list " " name }
        {
            for (i = 1; i < NF; i++) {
                if ($i == "@" || $i ~ /^@/) name = peer($i)
                if ($i == "<") percent = $(i + 1) / 10
            }
        }
        $1 == "cut_in" && !(name in from) { from[name] = 1; order[++count] = name }
        $1 == "cut_out" && !(name in to) { to[name] = 1; order[++count] = name }
        $1 == "loss_in" { loss = percent }
        END {
            for (i = 1; i <= count; i++) {
                name = order[i]
                if (seen[name]++) continue
                if (name in from && name in to) both = add(both, name)
                else if (name in from) ins = add(ins, name)
                else outs = add(outs, name)
            }
            if (both != "") text = "cut off from " both
            if (ins != "") text = text (text == "" ? "" : "; ") "hears nothing of " ins
            if (outs != "") text = text (text == "" ? "" : "; ") "is not heard by " outs
            if (loss) text = text (text == "" ? "" : "; ") "loses " loss " %"
            print text == "" ? "-" : text
        }'
}

# Removes all rules of all members.
mend_network() {
    local member
    for member in $(broken_members); do
        echo "delete table inet $TABLE" | nft_in "$member" || fail "the network of $member is not mended"
    done
    [[ -z $(broken_members) ]] || fail "there are rules left on $(broken_members)"
}
