/* "%05.1f" % x, "{:>8}".format(x) and dates. Both kinds of field are read into one struct spec. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text/jinja_ops.h"

enum {
    WIDTH_MAX = 4096,
    PRECISION_MAX = 100,
    REAL_DIGITS = DBL_MAX_10_EXP + 1,                                      // in front of the point
    REAL_ROOM = 1 + REAL_DIGITS + REAL_DIGITS / 3 + 1 + PRECISION_MAX + 2, // "-1,000.0%" and a zero
};

struct spec {
    struct jtext fill;
    char align; // '<' '>' '^' '=' (padding behind the sign), 0: by the type
    char sign;  // '+', ' ' or 0: only minus
    char type;  // 's' 'r' 'd' 'f' ..., 0: by the value
    bool alternate, comma;
    int64_t width, precision; // -1: none
};

/* ---- values by specification ---- */

/* text padded to the width; numbers go right, the rest left, unless told otherwise. */
static void add_padded(struct jbuild *out, const struct spec *s, struct jtext t, bool number)
{
    int64_t pad = s->width - jtext_n_char(t);
    char align = s->align ? s->align : number ? '>' : '<';
    uint32_t sign = align == '=' && t.len > 0 && strchr("+- ", t.bytes[0]) ? 1 : 0;
    int64_t before = pad <= 0 || align == '<' ? 0 : align == '^' ? pad / 2 : pad;
    jbuild_add(out, jtext_slice(t, 0, sign));
    jbuild_add(out, jtext_repeat(out->run, s->fill, before));
    jbuild_add(out, jtext_slice(t, sign, t.len));
    jbuild_add(out, jtext_repeat(out->run, s->fill, pad - before));
}

/* Thousands of the digits that follow a sign; what is behind them comes along. */
static void insert_commas(char *digits, size_t room)
{
    size_t sign = digits[0] == '-' || digits[0] == '+' || digits[0] == ' ';
    size_t n = strspn(digits + sign, "0123456789");
    for (size_t from_end = 3; from_end < n && strlen(digits) + 1 < room; from_end += 3) {
        char *at = digits + sign + n - from_end;
        memmove(at + 1, at, strlen(at) + 1);
        *at = ',';
    }
}

static void add_whole(struct jbuild *out, const struct spec *s, int64_t v, bool trusted)
{
    char digits[128], body[96];
    uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
    size_t n = 0;
    if (s->type == 'x' || s->type == 'X' || s->type == 'o') {
        const char *format = s->type == 'x' ? "%" PRIx64 : s->type == 'X' ? "%" PRIX64 : "%" PRIo64;
        snprintf(body, sizeof body, format, size);
    } else if (s->type == 'b') {
        for (int bit = 63; bit >= 0; bit--) {
            if (n > 0 || bit == 0 || size >> bit & 1)
                body[n++] = size >> bit & 1 ? '1' : '0';
        }
        body[n] = 0;
    } else {
        snprintf(body, sizeof body, "%" PRIu64, size);
    }
    const char *prefix = !s->alternate    ? ""
                         : s->type == 'x' ? "0x"
                         : s->type == 'X' ? "0X"
                         : s->type == 'o' ? "0o"
                         : s->type == 'b' ? "0b"
                                          : "";
    const char sign[2] = { v < 0 ? '-' : s->sign, 0 };
    snprintf(digits, sizeof digits, "%s%s%s", sign, prefix, body);
    if (s->comma)
        insert_commas(digits, sizeof digits);
    struct jtext t = jtext_of(digits);
    t.trusted = trusted;
    add_padded(out, s, t, true);
}

static void add_real(struct jbuild *out, const struct spec *s, double d, bool trusted)
{
    char digits[REAL_ROOM], format[16];
    char type = s->type == '%' ? 'f' : s->type == 'n' ? 'g' : s->type;
    int64_t precision = s->precision < 0 ? 6 : s->precision;
    if (precision > PRECISION_MAX)
        jrun_fail(out->run, "format: a precision of %lld; the bound is %d", (long long)precision,
                  PRECISION_MAX);
    if (!jrun_ok(out->run))
        return;
    if (type == 0 && s->precision < 0) {
        jfloat_print(d, digits);
    } else {
        snprintf(format, sizeof format, "%%%s.*%c", s->alternate ? "#" : "", type ? type : 'g');
        snprintf(digits, sizeof digits, format, (int)precision, s->type == '%' ? d * 100 : d);
    }
    if (s->sign && digits[0] != '-') {
        memmove(digits + 1, digits, strlen(digits) + 1);
        digits[0] = s->sign;
    }
    if (s->comma)
        insert_commas(digits, sizeof digits);
    if (s->type == '%')
        strcat(digits, "%");
    struct jtext t = jtext_of(digits);
    t.trusted = trusted;
    add_padded(out, s, t, true);
}

static void add_text(struct jbuild *out, const struct spec *s, struct jtext t)
{
    if (s->precision >= 0 && s->precision < t.len)
        t = jtext_slice(t, 0, jtext_offset(t, (uint32_t)s->precision));
    add_padded(out, s, t, false);
}

static void add_value(struct jbuild *out, const struct spec *s, const struct jvalue *v)
{
    bool whole_type = s->type && strchr("dixXobn", s->type),
         real_type = s->type && strchr("eEfFgG%", s->type);
    if (s->width > WIDTH_MAX)
        jrun_fail(out->run, "format: a width of %lld; the bound is %d", (long long)s->width,
                  WIDTH_MAX);
    else if (s->type == 'r' || s->type == 'a')
        add_text(out, s, jshow_repr(out->run, v));
    else if (s->type == 's' || (s->type == 0 && v->kind != J_INT && v->kind != J_FLOAT))
        add_text(out, s, jshow_text(out->run, v));
    else if (jvalue_is_whole(v) && !real_type)
        add_whole(out, s, jvalue_whole(v), v->trusted);
    else if (jvalue_is_number(v) && !whole_type)
        add_real(out, s, jvalue_real(v), v->trusted);
    else
        jrun_fail(out->run, "format: a %s does not fit '%c'", jvalue_type(v), s->type);
}

/* ---- reading a template ---- */

struct reading {
    struct jrun *run;
    struct jtext t;
    uint32_t at;
    const struct jargs *args;
    size_t next; // the argument by position that comes next
};

static char peek(const struct reading *in)
{
    return in->at < in->t.len ? in->t.bytes[in->at] : 0;
}

static bool skip(struct reading *in, char c)
{
    bool here = in->at < in->t.len && in->t.bytes[in->at] == c;
    in->at += here;
    return here;
}

static int64_t read_number(struct reading *in, int64_t otherwise)
{
    if (peek(in) < '0' || peek(in) > '9')
        return otherwise;
    int64_t n = 0;
    for (; peek(in) >= '0' && peek(in) <= '9'; in->at++)
        n = n < WIDTH_MAX * 100 ? n * 10 + (peek(in) - '0') : n;
    return n;
}

static struct jvalue next_arg(struct reading *in)
{
    if (in->next < in->args->n_pos)
        return in->args->pos[in->next++];
    jrun_fail(in->run, "format: there are more fields than the %zu arguments", in->args->n_pos);
    return jnothing();
}

static struct jvalue arg_named(struct reading *in, struct jtext name)
{
    for (size_t i = 0; i < in->args->n_named; i++) {
        if (jtext_equal(in->args->named[i].name, name))
            return in->args->named[i].value;
    }
    if (in->args->n_pos == 1 && in->args->pos[0].kind == J_DICT) { // "%(name)s" % dict
        const struct jvalue *v = jdict_find_word(in->run, in->args->pos[0].dict, name);
        if (v)
            return *v;
    }
    jrun_fail(in->run, "format: there is no argument named '%.*s'", (int)name.len, name.bytes);
    return jnothing();
}

/* ---- % ---- */

static struct spec read_percent_spec(struct reading *in)
{
    struct spec s = { .fill = JTEXT(" "), .align = '>', .precision = -1 };
    for (;; in->at++) {
        char c = peek(in);
        if (c == '-')
            s.align = '<';
        else if (c == '0' && s.align != '<')
            s.fill = JTEXT("0");
        else if (c == '+' || (c == ' ' && s.sign != '+'))
            s.sign = c;
        else if (c == '#')
            s.alternate = true;
        else if (c != ' ' && c != '0')
            break;
    }
    s.width = read_number(in, 0);
    if (skip(in, '.'))
        s.precision = read_number(in, 0);
    s.type = peek(in);
    in->at++;
    return s;
}

static void add_percent_field(struct jbuild *out, struct reading *in)
{
    struct jvalue v = { .kind = J_ABSENT };
    if (skip(in, '(')) {
        ptrdiff_t end = jtext_find(in->t, JTEXT(")"), in->at);
        struct jtext name = jtext_slice(in->t, in->at, end < 0 ? in->t.len : (size_t)end);
        in->at = end < 0 ? in->t.len : (uint32_t)end + 1;
        v = arg_named(in, name);
    }
    struct spec s = read_percent_spec(in);
    if (s.type == '%') {
        jbuild_add(out, JTEXT("%"));
        return;
    }
    if (!s.type || !strchr("diouxXeEfFgGcrsa", s.type)) {
        jrun_fail(in->run, "format: a %% field has no known type");
        return;
    }
    if (v.kind == J_ABSENT)
        v = next_arg(in);
    bool text = strchr("srca", s.type);
    if (s.type == 'c' && v.kind != J_TEXT)
        jrun_fail(in->run, "format: %%c shows a character, not a %s", jvalue_type(&v));
    if (!text && v.kind == J_FLOAT && strchr("diu", s.type))
        v = jint(fabs(v.real) < 0x1p63 ? (int64_t)v.real : 0);
    s.type = s.type == 'c' ? 's' : s.type == 'i' || s.type == 'u' ? 'd' : s.type;
    if (text)
        s.fill = JTEXT(" ");
    else if (s.fill.bytes[0] == '0')
        s.align = '=';
    if (jrun_ok(in->run))
        add_value(out, &s, &v);
}

struct jtext jformat_percent(struct jrun *r, struct jtext format, const struct jargs *args)
{
    struct reading in = { .run = r, .t = format, .args = args };
    struct jbuild out;
    jbuild_open(&out, r);
    while (in.at < format.len && jrun_step(r, 1)) {
        ptrdiff_t sign = jtext_find(format, JTEXT("%"), in.at);
        uint32_t end = sign < 0 ? format.len : (uint32_t)sign;
        jbuild_add(&out, jtext_slice(format, in.at, end));
        in.at = end + 1;
        if (sign >= 0)
            add_percent_field(&out, &in);
    }
    if (in.next < args->n_pos && args->pos[0].kind != J_DICT)
        jrun_fail(r, "format: %zu of %zu arguments were not used", args->n_pos - in.next,
                  args->n_pos);
    return jbuild_text(&out);
}

/* ---- {} ---- */

static struct spec read_brace_spec(struct reading *in)
{
    struct spec s = { .fill = JTEXT(" "), .precision = -1 };
    uint32_t n = jtext_char_len(in->t, in->at);
    uint32_t behind = in->at + n;
    if (behind < in->t.len && strchr("<>^=", in->t.bytes[behind]) && peek(in) != '}') {
        s.fill = jtext_slice(in->t, in->at, behind);
        s.align = in->t.bytes[behind];
        in->at = behind + 1;
    } else if (peek(in) && strchr("<>^=", peek(in))) {
        s.align = in->t.bytes[in->at++];
    }
    if (peek(in) == '+' || peek(in) == ' ' || peek(in) == '-')
        s.sign = in->t.bytes[in->at++];
    s.sign = s.sign == '-' ? 0 : s.sign;
    s.alternate = skip(in, '#');
    if (peek(in) == '0' && !s.align) {
        s.fill = JTEXT("0");
        s.align = '=';
    }
    s.width = read_number(in, 0);
    s.comma = skip(in, ',');
    if (skip(in, '.'))
        s.precision = read_number(in, 0);
    if (peek(in) && peek(in) != '}')
        s.type = in->t.bytes[in->at++];
    return s;
}

/* "0.name[key]": the argument and what is asked of it. */
static struct jvalue read_field_value(struct reading *in)
{
    uint32_t from = in->at;
    while (peek(in) && !strchr(".[!:}", peek(in)))
        in->at++;
    struct jtext name = jtext_slice(in->t, from, in->at);
    struct jvalue v;
    if (name.len == 0) {
        v = next_arg(in);
    } else if (name.bytes[0] >= '0' && name.bytes[0] <= '9') {
        in->at = from;
        in->next = (size_t)read_number(in, 0);
        v = next_arg(in);
    } else {
        v = arg_named(in, name);
    }
    while ((peek(in) == '.' || peek(in) == '[') && jrun_ok(in->run)) {
        bool bracket = in->t.bytes[in->at++] == '[';
        from = in->at;
        while (peek(in) && !strchr(bracket ? "]" : ".[!:}", peek(in)))
            in->at++;
        struct jtext part = jtext_slice(in->t, from, in->at);
        struct jvalue key = jtextv(part);
        v = bracket ? jop_path(in->run, &v, &key, NULL) : jop_attr(in->run, &v, part);
        if (bracket)
            skip(in, ']');
    }
    return v;
}

static void add_brace_field(struct jbuild *out, struct reading *in)
{
    struct jvalue v = read_field_value(in);
    bool repr = skip(in, '!') && (peek(in) == 'r' || peek(in) == 'a');
    if (peek(in) && !strchr(":}", peek(in)))
        in->at++;
    struct spec s = { .fill = JTEXT(" "), .precision = -1 };
    if (skip(in, ':'))
        s = read_brace_spec(in);
    if (!skip(in, '}'))
        jrun_fail(in->run, "format: a field { is never closed, or its format is not known");
    if (repr)
        s.type = 'r';
    if (s.type && !strchr("sdbxXoneEfFgG%r", s.type))
        jrun_fail(in->run, "format: there is no type '%c'", s.type);
    if (jrun_ok(in->run))
        add_value(out, &s, &v);
}

struct jtext jformat_braces(struct jrun *r, struct jtext format, const struct jargs *args)
{
    struct reading in = { .run = r, .t = format, .args = args };
    struct jbuild out;
    jbuild_open(&out, r);
    while (in.at < format.len && jrun_step(r, 1)) {
        uint32_t from = in.at;
        while (in.at < format.len && peek(&in) != '{' && peek(&in) != '}')
            in.at++;
        jbuild_add(&out, jtext_slice(format, from, in.at));
        char brace = peek(&in);
        in.at++;
        if (in.at <= format.len && brace &&
            peek(&in) == brace) { // {{ and }} are the braces themselves
            jbuild_add(&out, jtext_slice(format, in.at, in.at + 1));
            in.at++;
        } else if (brace == '{') {
            add_brace_field(&out, &in);
        } else if (brace == '}') {
            jrun_fail(r, "format: a single } in the format");
        }
    }
    return jbuild_text(&out);
}

/* ---- dates ---- */

static const char *const days[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
                                    "Thursday", "Friday", "Saturday" };
static const char *const months[] = { "January",   "February", "March",    "April",
                                      "May",       "June",     "July",     "August",
                                      "September", "October",  "November", "December" };

/* One letter of strftime in the C locale, in UTC. False: it is none we know. */
static bool date_part(char letter, const struct tm *tm, long long now, char *out, size_t room)
{
    int hour12 = tm->tm_hour % 12 ? tm->tm_hour % 12 : 12;
    const struct {
        char letter;
        const char *format;
        int value;
    } numbers[] = {
        { 'd', "%02d", tm->tm_mday },
        { 'e', "%2d", tm->tm_mday },
        { 'm', "%02d", tm->tm_mon + 1 },
        { 'Y', "%d", tm->tm_year + 1900 },
        { 'y', "%02d", tm->tm_year % 100 },
        { 'H', "%02d", tm->tm_hour },
        { 'I', "%02d", hour12 },
        { 'M', "%02d", tm->tm_min },
        { 'S', "%02d", tm->tm_sec },
        { 'j', "%03d", tm->tm_yday + 1 },
        { 'w', "%d", tm->tm_wday },
        { 'u', "%d", tm->tm_wday ? tm->tm_wday : 7 },
        { 'f', "%06d", 0 },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i].letter == letter) {
            snprintf(out, room, numbers[i].format, numbers[i].value);
            return true;
        }
    }
    const char *word = letter == 'A'   ? days[tm->tm_wday]
                       : letter == 'B' ? months[tm->tm_mon]
                       : letter == 'p' ? (tm->tm_hour < 12 ? "AM" : "PM")
                       : letter == 'Z' ? "UTC"
                       : letter == 'z' ? "+0000"
                       : letter == '%' ? "%"
                                       : NULL;
    if (word)
        snprintf(out, room, "%s", word);
    else if (letter == 'a' || letter == 'b' || letter == 'h')
        snprintf(out, room, "%.3s", letter == 'a' ? days[tm->tm_wday] : months[tm->tm_mon]);
    else if (letter == 's')
        snprintf(out, room, "%lld", now);
    else
        return false;
    return true;
}

/* Letters that stand for several others. */
static const char *date_shorthand(char letter)
{
    switch (letter) {
    case 'F':
        return "%Y-%m-%d";
    case 'T':
    case 'X':
        return "%H:%M:%S";
    case 'R':
        return "%H:%M";
    case 'D':
    case 'x':
        return "%m/%d/%y";
    case 'c':
        return "%a %b %e %H:%M:%S %Y";
    case 'r':
        return "%I:%M:%S %p";
    default:
        return NULL;
    }
}

static const char *without_padding(const char *part)
{
    while ((part[0] == '0' || part[0] == ' ') && part[1])
        part++;
    return part;
}

static void add_date(struct jbuild *out, struct jtext format, const struct tm *tm, long long now)
{
    char part[64];
    for (uint32_t i = 0; i < format.len && jrun_step(out->run, 1); i++) {
        char c = format.bytes[i];
        if (c != '%' || i + 1 == format.len) {
            jbuild_add(out, jtext_slice(format, i, i + 1));
            continue;
        }
        uint32_t start = i++;
        bool bare = format.bytes[i] == '-' && i + 1 < format.len; // "%-d": without padding
        i += bare;
        const char *more = date_shorthand(format.bytes[i]);
        if (more)
            add_date(out, jtext_of(more), tm, now);
        else if (date_part(format.bytes[i], tm, now, part, sizeof part))
            jbuild_add_word(out, bare ? without_padding(part) : part, true);
        else
            jbuild_add(out, jtext_slice(format, start, i + 1));
    }
}

struct jtext jformat_time(struct jrun *r, struct jtext format, long long now)
{
    struct tm tm;
    time_t seconds = (time_t)now;
    struct jbuild out;
    jbuild_open(&out, r);
    if (!gmtime_r(&seconds, &tm))
        jrun_fail(r, "strftime_now: the time %lld has no date", now);
    else
        add_date(&out, format, &tm, now);
    return jbuild_text(&out);
}
