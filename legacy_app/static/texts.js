/*
 * The texts of the pages in the page's language, and numbers and times as it writes them. Part of each page with a script.
 *
 * The page has the translations of language.py in #texts; English has none, since the texts in the scripts are English.
 *
 *   Texts.t("{count} steps", { count: 3 });
 *   Texts.message("7 rows, all good");  // what the server stores: English, with numbers
 */
(function () {
  "use strict";

  var language = document.documentElement.lang;
  var texts = JSON.parse(document.getElementById("texts").textContent);
  var numbers = new Intl.NumberFormat(language);
  var tenths = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  var times = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
  var clock = new Intl.DateTimeFormat(language, { timeStyle: "medium" });

  function find(text) {
    return Object.prototype.hasOwnProperty.call(texts, text) ? texts[text] : text;
  }

  function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, function (whole, name) {
      return name in values ? String(values[name]) : whole;
    });
  }

  function message(text) {
    var found = [];
    var template = text.replace(/\d+(?:,\d{3})*/g, function (number) {
      found.push(numbers.format(Number(number.replace(/,/g, ""))));
      return "{" + (found.length - 1) + "}";
    });
    return find(template) === template ? text : fill(find(template), found);
  }

  window.Texts = {
    language: language,
    message: message,
    t: function (text, values) {
      return fill(find(text), values || {});
    },
    count: function (number) {
      return numbers.format(number);
    },
    tenths: function (number) {
      return tenths.format(number);
    },
    time: function (date) {
      return times.format(date);
    },
    clock: function (date) {
      return clock.format(date);
    },
    size: function (bytes) {
      if (bytes < 1000) {
        return bytes === 1 ? "1 Byte" : bytes + " Bytes";
      }
      return bytes < 1e6 ? tenths.format(bytes / 1e3) + " kB" : tenths.format(bytes / 1e6) + " MB";
    },
  };
})();
