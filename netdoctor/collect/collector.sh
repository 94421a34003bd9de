#!/bin/sh
# Gathers the network state of this node, every namespace of it, as a tar on standard output:
#     sudo sh netdoctor-collector.sh >node.tar        (here)
#     netdoctor snapshot --from - -o node.json.gz <node.tar        (where netdoctor is)
# Needs a POSIX shell, ip, and for other namespaces nsenter. It only reads: no kernel module is loaded, no table
# registered, no daemon started. It takes no environment, no command line, and only the labels that name a workload.
set -u
umask 077
LC_ALL=C
export LC_ALL
PATH=${PATH:-}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
export PATH

say() { printf 'netdoctor-collector: %s\n' "$*" >&2; }

if [ -t 1 ]; then
    say 'standard output is a terminal: write the tar to a file: sh netdoctor-collector.sh >node.tar'
    exit 2
fi
if ! command -v ip >/dev/null 2>&1; then
    say 'ip (iproute2) is not installed: nothing can be read'
    exit 2
fi

# In memory where there is such a place: the node's disk may be what is full.
for base in "${TMPDIR:-/dev/shm}" /dev/shm /run /tmp; do
    out=$(mktemp -d "$base/netdoctor.XXXXXX" 2>/dev/null) && break
    out=
done
if [ -z "$out" ]; then
    say 'no folder for temporary files: set TMPDIR'
    exit 2
fi
trap 'rm -rf "$out"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

has() { command -v "$1" >/dev/null 2>&1; }

# Whether a kernel module is there, loaded or built in. Asking for its data would load it, so this is asked first.
loaded() {
    [ -d "/sys/module/$1" ] && return 0
    [ -r /proc/modules ] || return 0
    grep -q "^$1 " /proc/modules && return 0
    [ -r "/lib/modules/$(uname -r)/modules.builtin" ] || return 0
    grep -q "/$1\\.ko" "/lib/modules/$(uname -r)/modules.builtin"
}

limit=
if timeout 1 true 2>/dev/null; then limit='timeout 30'; fi

netns= # path of the namespace that is being read; empty: this one
dir=$out

# Run a program in the namespace that is being read.
within() {
    # shellcheck disable=SC2086 # two words or none
    if [ -n "$netns" ]; then $limit nsenter --net="$netns" "$@"; else $limit "$@"; fi
}

# save FILE COMMAND...: keep what a command prints; where it fails, keep why.
save() {
    file=$1
    shift
    has "$1" || {
        note "$file" "$1 is not installed"
        return 1
    }
    if within "$@" >"$dir/$file" 2>"$out/.stderr" </dev/null; then return 0; fi
    rm -f "$dir/$file"
    note "$file" "$1 failed: $(tail -n 1 "$out/.stderr")"
    return 1
}

note() { printf '%s: %s\n' "$1" "$2" >>"$dir/not-read.txt"; }

# keep FILE PATH: a file of /proc of the namespace that is being read.
keep() {
    within cat "$2" >"$dir/$1" 2>/dev/null || rm -f "$dir/$1"
}

links() {
    save ip-link.json ip -d -j link show
    save ip-addr.json ip -d -j address show
    save bridge-link.json bridge -d -j link show
    save bridge-fdb.json bridge -j fdb show
    save bridge-vlan.json bridge -j vlan show
}

routes() {
    save ip-route.json ip -4 -d -j route show table all
    save ip-rule.json ip -4 -d -j rule show
    save ip-neigh.json ip -4 -j neigh show nud all
    save ip-neigh-proxy.json ip -j neigh show proxy
    if [ -e /proc/net/if_inet6 ]; then
        save ip-6-route.json ip -6 -d -j route show table all
        save ip-6-rule.json ip -6 -d -j rule show
        save ip-6-neigh.json ip -6 -j neigh show nud all
    fi
    if grep -qs '"nhid"' "$dir/ip-route.json" "$dir/ip-6-route.json"; then save ip-nexthop.json ip -d -j nexthop show; fi
    if loaded xfrm_user; then save ip-xfrm-policy.txt ip xfrm policy show; fi
}

# The twin of each family and backend; a node with only one iptables may have no twins.
rulesets() {
    for family in ip ip6; do
        if has "${family}tables-nft-save"; then
            if loaded nf_tables; then save "${family}tables-nft-save.txt" "${family}tables-nft-save" -c; fi
        elif has "${family}tables-save" && is_nft "${family}tables"; then
            if loaded nf_tables; then save "${family}tables-save.txt" "${family}tables-save" -c; fi
        fi
        # The kernel lists the legacy tables that are registered; asking for others would register them.
        [ -n "$(within cat "/proc/net/${family}_tables_names" 2>/dev/null)" ] || continue
        if has "${family}tables-legacy-save"; then
            save "${family}tables-legacy-save.txt" "${family}tables-legacy-save" -c
        elif ! is_nft "${family}tables"; then
            save "${family}tables-legacy-save.txt" "${family}tables-save" -c
        else
            note "${family}tables-legacy-save.txt" "${family}tables-legacy-save is not installed"
        fi
    done
    if loaded nf_tables; then
        if has ebtables-nft-save; then save ebtables-nft-save.txt ebtables-nft-save; fi
        if has arptables-nft-save; then save arptables-nft-save.txt arptables-nft-save; fi
        if has nft; then
            save nft.json nft -j list ruleset
            if grep -Eq '"hook": *"(ingress|egress)"' "$dir/nft.json"; then  # JSON lacks the devices before nft 1.0.8
                save nft-list-chains.txt nft list chains
            fi
            within nft list hooks >"$dir/nft-list-hooks.txt" 2>/dev/null || rm -f "$dir/nft-list-hooks.txt"
        else
            note nft.json 'nft is not installed'
        fi
    fi
    if loaded ip_set; then save ipset-save.txt ipset save; fi
    if within test -r /proc/net/ip_vs; then keep proc-net-ip_vs.txt /proc/net/ip_vs; fi
}

is_nft() { "$1" --version 2>/dev/null | grep -q nf_tables; }

sysctls() {
    if has sysctl; then
        within sysctl -a 2>/dev/null </dev/null
    else # /proc/sys/net/ipv4/conf/eth0.5/forwarding:1 -> net.ipv4.conf.eth0/5.forwarding = 1
        within grep -rs '' /proc/sys/net | sed 's#^/proc/sys/##; s/:/ = /; h; s/ = .*//; y#/.#./#; G; s/\n.* = / = /'
    fi | grep '^net\.' | grep -v -e '\.stable_secret ' -e '\.tcp_fastopen_key ' >"$dir/sysctl.txt"
    if [ ! -s "$dir/sysctl.txt" ]; then
        rm -f "$dir/sysctl.txt"
        note sysctl.txt '/proc/sys/net is not readable'
    fi
}

connections() {
    if within test -e /proc/sys/net/netfilter/nf_conntrack_max; then
        if within test -r /proc/net/nf_conntrack; then
            save conntrack.txt cat /proc/net/nf_conntrack
        else
            save conntrack.txt conntrack -L -o extended
            save conntrack-6.txt conntrack -L -f ipv6 -o extended
        fi
        keep proc-net-stat-nf_conntrack.txt /proc/net/stat/nf_conntrack
    fi
    keep proc-net-snmp.txt /proc/net/snmp
    keep proc-net-netstat.txt /proc/net/netstat
    keep proc-net-snmp6.txt /proc/net/snmp6
    options=
    if ss -h 2>&1 | grep -q -- --inet-sockopt; then options=--inet-sockopt; fi  # iproute2 5.9
    # PROC_ROOT makes ss read /proc: its netlink family would load a module for each protocol.
    if loaded tcp_diag && loaded udp_diag && loaded raw_diag; then
        save ss.txt ss -H -O -l -n -e -p -t -u -w ${options:+"$options"}
    else
        save ss.txt env PROC_ROOT=/proc ss -H -O -l -n -e -p -t -u -w ${options:+"$options"}
    fi
}

everything() {
    links
    routes
    rulesets
    sysctls
    connections
}

# The containers' names, addresses and ports; `docker` and `podman` are asked only where they run already.
go_labels() {
    for label in app app.kubernetes.io/component app.kubernetes.io/instance app.kubernetes.io/name \
        com.docker.compose.project com.docker.compose.service com.docker.stack.namespace com.docker.swarm.service.name \
        io.kubernetes.container.name io.kubernetes.pod.name io.kubernetes.pod.namespace io.podman.compose.project \
        io.podman.compose.service k8s-app netdoctor.ignore pod-template-hash; do
        printf '{{with index .Config.Labels "%s"}}"%s":{{json .}},{{end}}' "$label" "$label"
    done
}

as_list() {
    printf '['
    sed '/^$/d' | sed '$!s/$/,/'
    printf ']\n'
}

containers() {
    tool=$1
    id=$2
    # shellcheck disable=SC2086
    ids=$($limit "$tool" ps -q --no-trunc 2>/dev/null </dev/null) || return
    [ -n "$ids" ] || return
    # shellcheck disable=SC2086
    $limit "$tool" inspect --type container --format \
        '{"Id":{{json '"$id"'}},"Name":{{json .Name}},"State":{"Running":{{json .State.Running}},"Paused":{{json .State.Paused}},"Pid":{{json .State.Pid}}},"HostConfig":{"NetworkMode":{{json .HostConfig.NetworkMode}}},"Config":{"Labels":{'"$(go_labels)"'"":""}},"NetworkSettings":{"SandboxKey":{{json .NetworkSettings.SandboxKey}},"Ports":{{json .NetworkSettings.Ports}},"Networks":{{json .NetworkSettings.Networks}}}}' \
        $ids 2>/dev/null </dev/null | as_list >"$out/$tool-inspect.json"
}

runtimes() {
    if has docker && grep -qsx dockerd /proc/[0-9]*/comm; then
        containers docker .Id
        # shellcheck disable=SC2046,SC2086
        $limit docker network inspect --format \
            '{"Name":{{json .Name}},"Id":{{json .Id}},"Driver":{{json .Driver}},"Internal":{{json .Internal}},"IPAM":{"Config":{{json .IPAM.Config}}},"Options":{{json .Options}}}' \
            $($limit docker network ls -q) 2>/dev/null </dev/null | as_list >"$out/docker-network-inspect.json"
    fi
    if has podman && [ -e /run/libpod/alive ]; then
        containers podman .ID
        # shellcheck disable=SC2046,SC2086
        $limit podman network inspect $($limit podman network ls -q) >"$out/podman-network-inspect.json" 2>/dev/null </dev/null
    fi
    cni_results | as_list >"$out/cni-results.json"
}

# Of each of libcni's cached results only what names a pod: the cache also holds the plugin's configuration.
cni_results() {
    for file in /var/lib/cni/results/* /var/lib/cni/cache/results/*; do
        [ -f "$file" ] || continue
        grep -qs '"kind":"cniCacheV1"' "$file" || continue
        printf '{"kind":"cniCacheV1","containerId":"%s","networkName":"%s","netns":"%s","cniArgs":%s,"result":{"ips":[%s]}}\n' \
            "$(text_of containerId "$file")" "$(text_of networkName "$file")" "$(text_of netns "$file")" \
            "$(tr -d '\n' <"$file" | sed -n 's/.*"cniArgs": *\(\[\( *\[[^]]*\],*\)* *\]\).*/\1/p' | grep . || echo '[]')" \
            "$(tr -d '\n' <"$file" | sed 's/.*"result"//' | tr ',' '\n' | tr '{' '\n' | sed -n 's/.*"address": *"\([0-9a-fA-F.:/]*\)".*/{"address":"\1"}/p' | sed '$!s/$/,/' | tr -d '\n')"
    done
}

text_of() { tr -d '\n' <"$2" | sed -n 's/.*"'"$1"'": *"\([^"\\]*\)".*/\1/p'; }

facts() {
    printf 'host=%s\nkernel=%s\ntime=%s\nzone=%s\nuptime=%s\n' \
        "$(uname -n)" "$(uname -r)" "$(date +%s)" "$(date +%z)" "$(cut -d ' ' -f 1 /proc/uptime)"
    printf 'tool.ip=%s\n' "$(ip -V 2>&1 | head -n 1)"
    for tool in iptables nft conntrack; do
        if has "$tool"; then printf 'tool.%s=%s\n' "$tool" "$("$tool" --version 2>/dev/null </dev/null | head -n 1)"; fi
    done
}

# One line for each way to reach a namespace: INODE own, INODE pid PID, INODE path PATH.
list_namespaces() {
    printf '%s own\n' "$own"
    # shellcheck disable=SC2012 # one ls for thousands of processes; the names are ours
    ls -l /proc/[0-9]*/ns/net 2>/dev/null |
        sed -n 's#.* /proc/\([0-9]*\)/ns/net -> net:\[\([0-9]*\)\]$#\2 pid \1#p' | sort -n -k 1,1 -k 3,3 |
        awk '++seen[$1] <= 8'
    for path in /run/netns/* /run/docker/netns/* /var/run/netns/* /var/run/docker/netns/*; do
        [ -e "$path" ] || continue
        inode=$(nsenter --net="$path" readlink /proc/self/ns/net 2>/dev/null | tr -dc 0-9)
        if [ -n "$inode" ]; then printf '%s path %s\n' "$inode" "$path"; fi
    done
}

own=$(readlink /proc/self/ns/net | tr -dc 0-9)
facts >"$out/collector.txt"
runtimes
everything
if ! has nsenter; then
    say 'nsenter (util-linux) is not installed: only this namespace is read'
    note namespaces.txt 'nsenter is not installed'
else
    list_namespaces >"$out/namespaces.txt"
    # shellcheck disable=SC2013 # every word is a number
    for inode in $(cut -d ' ' -f 1 "$out/namespaces.txt" | sort -u); do
        [ "$inode" = "$own" ] && continue
        netns=$(sed -n "s#^$inode path \(.*\)#\1#p; s#^$inode pid \(.*\)#/proc/\1/ns/net#p" "$out/namespaces.txt" | tail -n 1)
        nsenter --net="$netns" true 2>/dev/null || continue # it vanished, or it is not ours to enter
        dir=$out/netns-$inode
        mkdir "$dir"
        everything
    done
    netns=
fi
rm -f "$out/.stderr"
say "$(find "$out" -name ip-link.json | wc -l | tr -d ' ') namespaces read"
tar -C "$out" -cf - .
