// Starts `ach lsp` and hands it to the editor; everything else is the server's.
"use strict";

const path = require("node:path");
const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

/** @type {LanguageClient | undefined} */
let client;

/** Return the command that the setting `ach.path` names. */
function command() {
  const wanted = vscode.workspace.getConfiguration("ach").get("path", "ach");
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? "";
  const named = wanted.replaceAll("${workspaceFolder}", folder);
  // A name is looked up in the path; a relative file lies in the workspace.
  return /[\\/]/.test(named) ? path.resolve(folder, named) : named;
}

async function start() {
  const server = { command: command(), args: ["lsp"] };
  client = new LanguageClient("ach", "ach", server, {
    documentSelector: [{ language: "ach" }],
    initializationOptions: { ruleSets: vscode.workspace.getConfiguration("ach").get("ruleSets", []) },
  });
  try {
    await client.start();
  } catch (error) {
    const settings = "Open settings";
    const chosen = await vscode.window.showErrorMessage(
      `ach: could not start \`${server.command} lsp\`. Install it with \`pip install '.[lsp]'\` in a clone of ach, or say where it is. (${error})`,
      settings,
    );
    if (chosen === settings) {
      await vscode.commands.executeCommand("workbench.action.openSettings", "ach.path");
    }
  }
}

async function stop() {
  const running = client;
  client = undefined;
  if (running?.isRunning()) {
    await running.stop();
  }
}

async function restart() {
  await stop();
  await start();
}

/** @param {vscode.ExtensionContext} context */
async function activate(context) {
  context.subscriptions.push(
    vscode.commands.registerCommand("ach.restart", restart),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration("ach")) {
        void restart();
      }
    }),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
