# Sourced by netns-lab/lab and tests/run: makes a Debian 12 machine ready, silently when it is.
#
# lab_choose_kernel [native|guest]   sets lab_kernel and lab_why
# lab_install_packages               apt-get, only what is missing, no call at all when nothing is
# lab_make_venv                      .venv in the checkout, remade when pyproject.toml changed

lab_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin

lab_choose_kernel() {
    lab_kernel=${1:-} lab_why="asked for"
    if [ -n "$lab_kernel" ]; then return; fi
    lab_kernel=guest
    if ! lab_host_has_ip_vs; then
        lab_why="kernel $(uname -r) has no ip_vs"
    elif [ "$(id -u)" != 0 ]; then
        lab_why="not root"
    elif ! unshare --net --mount true 2>/dev/null; then
        lab_why="no namespaces allowed here"
    else
        lab_kernel=native lab_why="kernel $(uname -r) has ip_vs"
    fi
}

lab_host_has_ip_vs() {
    [ -e /proc/net/ip_vs ] ||
        [ -n "$(find "/lib/modules/$(uname -r)/" -name 'ip_vs.ko*' -print -quit 2>/dev/null)" ]
}

lab_install_packages() {
    local missing=() command package
    while read -r command package; do
        command -v "$command" >/dev/null || missing+=("$package")
    done <<-END
	/usr/bin/python3 python3
	ip iproute2
	modprobe kmod
	ipvsadm ipvsadm
	keepalived keepalived
	ping iputils-ping
	openssl openssl
	arping iputils-arping
	tcpdump tcpdump
	tshark tshark
	END
    # python3 alone cannot make a venv: ensurepip is Debian's python3-venv.
    /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if [ "$lab_kernel" = guest ] && ! command -v linux.uml >/dev/null; then
        missing+=(user-mode-linux)
    fi
    # Processors with AMX need labkit/wide_registers.c; the smallest compiler will do.
    if [ "$lab_kernel" = guest ] && grep -q ' amx_tile' /proc/cpuinfo &&
        ! command -v cc gcc tcc >/dev/null; then
        missing+=(tcc)
    fi
    if [ ${#missing[@]} = 0 ]; then return; fi
    echo "lab: installing ${missing[*]}" >&2
    local as_root=()
    if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
    # RUNLEVEL=1: invoke-rc.d starts no service in single-user mode, so keepalived stays a file.
    local apt=("${as_root[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq)
    local log
    log=$(mktemp)
    if ! { "${apt[@]}" update &&
        "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        echo "lab: apt-get could not install ${missing[*]}" >&2
        return 1
    fi
    rm -f "$log"
}

lab_make_venv() {
    local venv=$lab_root/.venv stamp
    stamp=$(sha256sum <"$lab_root/pyproject.toml")
    if [ "$(cat "$venv/lab-stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
    echo "lab: preparing .venv" >&2
    [ -x "$venv/bin/python" ] || /usr/bin/python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -e "$lab_root[dev]" >&2
    echo "$stamp" >"$venv/lab-stamp"
}
